package postfixlog

import "bytes"

// after returns what follows prefix; ok tells whether b begins with it.
func after(b []byte, prefix string) (rest []byte, ok bool) {
	if !begins(b, prefix) {
		return nil, false
	}
	return b[len(prefix):], true
}

// begins tells whether b begins with prefix.
func begins(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// cut splits b around the first sep.
func cut(b []byte, sep string) (before, rest []byte, ok bool) {
	if at := bytes.Index(b, []byte(sep)); at >= 0 {
		return b[:at], b[at+len(sep):], true
	}
	return b, nil, false
}

// angled reads an address whose opening bracket is already gone, up to its closing bracket. A quoted local part may hold
// brackets (Postfix 3.6 and later log addresses in quoted form).
func angled(b []byte) (address, rest []byte, ok bool) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return b[:i], b[i+1:], true
		}
	}
	if at := bytes.IndexByte(b, '>'); at >= 0 { // an unpaired quote
		return b[:at], b[at+1:], true
	}
	return nil, b, false
}

// field finds name (with its "=<") in b and reads the address behind it.
func field(b []byte, name string) []byte {
	if _, rest, ok := cut(b, name); ok {
		if value, _, ok := angled(rest); ok {
			return value
		}
	}
	return nil
}

// word reads the value behind name up to a space, a comma or the end.
func word(b []byte, name string) []byte {
	_, rest, ok := cut(b, name)
	if !ok {
		return nil
	}
	if end := bytes.IndexAny(rest, " ,"); end >= 0 {
		return rest[:end]
	}
	return rest
}

// number reads leading decimal digits.
func number(b []byte) (n int, rest []byte, ok bool) {
	i := 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' && i < 18 {
		n = n*10 + int(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0
}

// Lengths of queue ids: five digits of microseconds and an inode number at the least (mail_queue.h).
const (
	minQueueID = 6
	maxQueueID = 32
)

// isQueueID tells a queue id: short ones are upper-case hexadecimal, long ones leave out vowels and have a z between
// time and inode number.
func isQueueID(b []byte) bool {
	if len(b) < minQueueID || len(b) > maxQueueID {
		return false
	}
	hex, long, z := true, true, false
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9':
		case c >= 'A' && c <= 'Z':
			hex = hex && c <= 'F'
			long = long && !vowel(c|0x20)
		case c >= 'a' && c <= 'z':
			hex = false
			long = long && !vowel(c)
			z = z || c == 'z' && i >= 10
		default:
			return false
		}
	}
	return hex || long && z
}

// vowel tells the letters that long queue ids leave out (mail_queue.h, MQID_LG_…).
func vowel(lower byte) bool {
	return lower == 'a' || lower == 'e' || lower == 'i' || lower == 'o' || lower == 'u'
}
