package dnsask

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Text is a TXT record's text: its strings joined, without the backslashes that package dns puts into them: \DDD and \X
// (RFC 1035 section 5.1).
func Text(rr *dns.TXT) string {
	var out strings.Builder
	for _, text := range rr.Txt {
		for i := 0; i < len(text); i++ {
			switch {
			case text[i] != '\\' || i+1 == len(text):
				out.WriteByte(text[i])
			case i+3 < len(text) && strings.Trim(text[i+1:i+4], "0123456789") == "":
				out.WriteByte((text[i+1]-'0')*100 + (text[i+2]-'0')*10 + text[i+3] - '0')
				i += 3
			default:
				i++
				out.WriteByte(text[i])
			}
		}
	}
	return out.String()
}

// Versioned are the texts whose first tag is a version, as "v=DMARC1": it stands alone or before a semicolon, and may have
// blanks around it and its equals sign (RFC 7489 section 6.4).
func Versioned(texts []string, version string) (those []string) {
	for _, text := range texts {
		first, _, _ := strings.Cut(text, ";")
		name, value, found := strings.Cut(first, "=")
		if found && strings.TrimSpace(name)+"="+strings.TrimSpace(value) == version {
			those = append(those, text)
		}
	}
	return those
}

// Escape is a text as a quoted string of a zone file takes it: nothing in it ends the string, or acts in a terminal.
func Escape(text string) string {
	var out strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&out, `\%03d`, c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// Strings cuts a text into the strings that a TXT record takes, 255 bytes each at the most (RFC 1035 section 3.3.14), and
// escapes each.
func Strings(text string) (parts []string) {
	const longest = 255
	for len(text) > longest {
		parts, text = append(parts, Escape(text[:longest])), text[longest:]
	}
	return append(parts, Escape(text))
}

// Cut are the strings of the record with a text, where they aren't those that [Strings] makes; none otherwise.
func (a *Answer) Cut(text string) (parts []string) {
	for _, rr := range a.Records {
		txt, ok := rr.(*dns.TXT)
		if !ok || Text(txt) != text {
			continue
		}
		for _, one := range txt.Txt {
			parts = append(parts, Text(&dns.TXT{Txt: []string{one}}))
		}
		if slices.EqualFunc(parts, Strings(text), func(has, makes string) bool { return Escape(has) == makes }) {
			return nil
		}
		return parts
	}
	return nil
}

// Quote writes a text as a zone file has it in a TXT record.
func Quote(text string) string { return `"` + strings.Join(Strings(text), `" "`) + `"` }

// QuoteCut is Quote for a text that is cut into strings already, of 255 bytes at the most.
func QuoteCut(parts []string) string {
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = Escape(part)
	}
	return `"` + strings.Join(escaped, `" "`) + `"`
}
