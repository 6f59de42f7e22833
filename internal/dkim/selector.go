package dkim

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// dateLayout is what {date} in a selector template stands for: the day, in UTC, from which the key is used.
const dateLayout = "20060102"

// Template is a selector in which {node} stands for the node's name and {date} for the first day of a key's use. With
// {date}, a key for a coming day can be made and published ahead, and takes over by itself on that day.
type Template struct {
	node           string
	prefix, suffix string // around {date}
	dated          bool
}

// ParseTemplate reads a selector template for a node.
func ParseTemplate(text, node string) (Template, error) {
	t := Template{node: strings.ToLower(node)}
	expanded := strings.ReplaceAll(strings.ToLower(text), "{node}", t.node)
	t.prefix, t.suffix, t.dated = strings.Cut(expanded, "{date}")
	plain := t.prefix
	if t.dated {
		plain += "19700101" + t.suffix
	}
	if strings.ContainsAny(plain, "{}") {
		return Template{}, fmt.Errorf("selector %q: expected no other names in braces than {node} and one {date}", text)
	}
	if err := checkDomain(plain); err != nil {
		return Template{}, fmt.Errorf("selector %q: %w", text, err)
	}
	return t, nil
}

// Selector is the selector of a key that is used from a day on.
func (t Template) Selector(day time.Time) string {
	if !t.dated {
		return t.prefix
	}
	return t.prefix + day.UTC().Format(dateLayout) + t.suffix
}

// match tells whether a selector is the template's, and from which day on it is used: empty for a template without {date}.
func (t Template) match(selector string) (from string, ok bool) {
	if !t.dated {
		return "", selector == t.prefix
	}
	rest, ok := strings.CutPrefix(selector, t.prefix)
	if !ok {
		return "", false
	}
	if from, ok = strings.CutSuffix(rest, t.suffix); !ok {
		return "", false
	}
	if _, err := time.Parse(dateLayout, from); err != nil {
		return "", false
	}
	return from, true
}

var errDomain = errors.New("expected a DNS name of letters, digits, hyphens and underscores")

// checkDomain takes what can stand in d= and s=: labels of RFC 1035 size, underscores allowed since DNS has them.
func checkDomain(name string) error {
	if len(name) == 0 || len(name) > 253 {
		return errDomain
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return errDomain
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return errDomain
			}
		}
	}
	return nil
}
