package dkim

import (
	"encoding/base64"
	"strconv"
	"time"
)

// foldAt is the column at which the lines of a DKIM-Signature field are folded (RFC 5322 section 2.1.1).
const foldAt = 76

// folder writes tags, folding between them and, in h= and b=, inside them.
type folder struct {
	text   []byte
	column int
}

func (f *folder) write(s string) {
	f.text = append(f.text, s...)
	f.column += len(s)
}

func (f *folder) fold() {
	f.text = append(f.text, "\r\n\t"...)
	f.column = 8
}

// tag writes NAME=VALUE; with a space or a fold in front.
func (f *folder) tag(name, value string) {
	if f.column+len(name)+len(value)+3 > foldAt {
		f.fold()
	} else {
		f.write(" ")
	}
	f.write(name)
	f.write("=")
	f.write(value)
	f.write(";")
}

// list writes h=, folded behind its colons.
func (f *folder) list(name string, values []string) {
	f.fold()
	f.write(name)
	f.write("=")
	for i, value := range values {
		if i > 0 {
			f.write(":")
		}
		if f.column+len(value)+1 > foldAt && i > 0 {
			f.fold()
		}
		f.write(value)
	}
	f.write(";")
}

// unsigned is the value of a DKIM-Signature field up to and with "b=", which is what the signature covers of it. Tags that
// nobody asked for are left out; l= is never written (RFC 6376 section 8.2).
func (p *profile) unsigned(key *Key, names []string, bodyHash []byte, now time.Time) []byte {
	f := &folder{text: make([]byte, 0, 1024), column: len(fieldName) + 1}
	f.tag("v", "1")
	f.tag("a", key.Algorithm())
	f.tag("c", p.canonicalization())
	f.tag("d", key.Domain)
	f.tag("s", key.Selector)
	f.tag("t", strconv.FormatInt(now.Unix(), 10))
	if p.expire > 0 {
		f.tag("x", strconv.FormatInt(now.Add(p.expire).Unix(), 10))
	}
	if p.identity != "" {
		f.tag("i", p.identityOf(key.Domain))
	}
	f.list("h", names)
	f.tag("bh", base64.StdEncoding.EncodeToString(bodyHash))
	f.fold()
	f.write("b=")
	return f.text
}

// withSignature is the whole value: what unsigned gave, and the signature in folded base64 behind it.
func withSignature(unsigned, signature []byte) string {
	encoded := base64.StdEncoding.EncodeToString(signature)
	f := folder{text: unsigned, column: 8 + len("b=")}
	for len(encoded) > 0 {
		n := min(foldAt-f.column, len(encoded))
		f.write(encoded[:n])
		if encoded = encoded[n:]; encoded != "" {
			f.fold()
		}
	}
	return string(f.text)
}
