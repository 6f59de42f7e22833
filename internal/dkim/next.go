package dkim

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// NextTemplate is the selector of the keys that a rotation makes: {node}, {yyyymm} or {yyyymmdd} for the day on which the key
// is made, and {letter} for the first letter that makes it new.
type NextTemplate struct{ text, node string }

// ParseNextTemplate reads the template. It must have something in it that differs from one rotation to the next.
func ParseNextTemplate(text, node string) (NextTemplate, error) {
	t := NextTemplate{text: strings.ToLower(text), node: strings.ToLower(node)}
	plain := t.expand(time.Unix(0, 0), "a")
	switch {
	case strings.ContainsAny(plain, "{}"):
		return NextTemplate{}, fmt.Errorf("selector %q: expected no other names in braces than {node}, {yyyymm}, {yyyymmdd} and {letter}", text)
	case plain == t.expand(time.Unix(0, 0).AddDate(0, 1, 0), "b"):
		return NextTemplate{}, fmt.Errorf("selector %q: expected {yyyymm}, {yyyymmdd} or {letter} in it, or each key would have the old one's name", text)
	}
	if err := checkDomain(plain); err != nil {
		return NextTemplate{}, fmt.Errorf("selector %q: %w", text, err)
	}
	return t, nil
}

func (t NextTemplate) expand(day time.Time, letter string) string {
	day = day.UTC()
	return strings.NewReplacer("{node}", t.node, "{yyyymm}", day.Format("200601"), "{yyyymmdd}", day.Format(dateLayout),
		"{letter}", letter).Replace(t.text)
}

// Selector is the first selector of a day that isn't taken.
func (t NextTemplate) Selector(day time.Time, taken func(string) bool) (string, error) {
	for letter := 'a'; letter <= 'z'; letter++ {
		if selector := t.expand(day, string(letter)); !taken(selector) {
			return selector, nil
		}
		if !strings.Contains(t.text, "{letter}") {
			break
		}
	}
	return "", fmt.Errorf("selector %q: every name that it makes on %s is taken", t.text, day.UTC().Format(time.DateOnly))
}

// ReadKey reads one key file of a domain, named as Generate names it, and proves the key.
func ReadKey(path, domain string) (*Key, error) {
	for _, form := range keySuffixes {
		base, ok := strings.CutSuffix(filepath.Base(path), form.suffix)
		if !ok {
			continue
		}
		key, err := readKey(path, form.kind)
		if err != nil {
			return nil, fmt.Errorf("load DKIM key: %w", err)
		}
		key.Domain, key.Selector = domain, selectorOf(base, form.kind)
		return key, key.prove()
	}
	return nil, fmt.Errorf("load DKIM key: %s: expected a name that ends in .rsa.pem or .ed25519.pem", path)
}

// Base is the name of the key's file without its type: what the RSA and the Ed25519 key of one generation share.
func (k *Key) Base() string {
	if k.Kind == Ed25519 {
		return strings.TrimSuffix(k.Selector, ed25519Suffix)
	}
	return k.Selector
}
