package dkim

import (
	"strings"
)

// fieldName is the header field that holds a signature.
const fieldName = "DKIM-Signature"

// maxHeaders bounds what is held of the header fields that are signed. Postfix's own header_size_limit is 100 kB a field.
const maxHeaders = 1 << 20

// signedFields collects the fields of a message that a signature covers.
type signedFields struct {
	names  []string       // as they appear in h=
	extra  []bool         // one entry more than there are fields, so that nobody can add one (RFC 6376 section 8.15)
	index  map[string]int // lower case name to names
	always []bool         // extra even where the message has none
}

// latecomers are the fields that a mail server on the way adds where they are missing (RFC 6409 section 8; Postfix's
// always_add_missing_headers). An entry for an absent one would break the signature there, so that they are oversigned only
// where the message has them. Postfix itself shows the milter its own additions.
var latecomers = map[string]bool{"date": true, "message-id": true, "sender": true, "mime-version": true, "content-type": true,
	"content-transfer-encoding": true, "resent-date": true, "resent-message-id": true, "resent-from": true, "resent-sender": true}

func newSignedFields(headers, oversign []string) *signedFields {
	f := &signedFields{index: map[string]int{}}
	add := func(name string) int {
		lower := strings.ToLower(name)
		at, ok := f.index[lower]
		if !ok {
			at = len(f.names)
			f.index[lower] = at
			f.names = append(f.names, name)
			f.extra = append(f.extra, false)
			f.always = append(f.always, false)
		}
		return at
	}
	for _, name := range headers {
		add(name)
	}
	for _, name := range oversign {
		at := add(name)
		f.extra[at] = true
		f.always[at] = !latecomers[strings.ToLower(name)]
	}
	return f
}

// lookup finds a field's place in names without allocating.
func (f *signedFields) lookup(name string) (int, bool) {
	var buf [64]byte
	if len(name) > len(buf) {
		return 0, false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	at, ok := f.index[string(buf[:len(name)])]
	return at, ok
}

// appendCanonical adds a field in canonical form, CR LF at its end (RFC 6376 sections 3.4.1 and 3.4.2). limit breaks lines
// as body does.
func appendCanonical(to []byte, relaxed bool, limit int, name, value string) []byte {
	value = breakLines(value, len(name)+1, limit)
	if !relaxed {
		to = append(to, name...)
		to = append(to, ':')
		to = append(to, value...)
		return append(to, crlf...)
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	to = append(to, ':')
	start := len(to)
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case ' ', '\t', '\r', '\n':
			if len(to) > start && to[len(to)-1] != ' ' {
				to = append(to, ' ')
			}
		default:
			to = append(to, c)
		}
	}
	if len(to) > start && to[len(to)-1] == ' ' {
		to = to[:len(to)-1]
	}
	return append(to, crlf...)
}

// breakLines puts CR LF SPACE where Postfix's SMTP client will break a header line that is longer than limit; the first one
// begins at column used. Its lines end with CR LF.
func breakLines(value string, used, limit int) string {
	if limit <= 0 || len(value)+used <= limit {
		return value
	}
	var out strings.Builder
	for i, line := range strings.Split(value, "\r\n") {
		room := limit
		if i == 0 {
			room = max(limit-used, 0)
		} else {
			out.WriteString("\r\n")
		}
		for len(line) > room {
			out.WriteString(line[:room])
			out.WriteString("\r\n ")
			line = line[room:]
			room = limit - 1
		}
		out.WriteString(line)
	}
	return out.String()
}
