package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

var crlf = []byte("\r\n")

// body hashes a message body in one pass: it breaks lines as Postfix's SMTP client will, canonicalises them (RFC 6376
// sections 3.4.3 and 3.4.4) and feeds the hash, holding no more than a few kilobytes. Chunks may be cut anywhere.
//
// Lines that the canonicalisation leaves alone, nearly all of a mail, go straight from the chunk to the hash, many at a time;
// only the others are worked through byte by byte.
type body struct {
	hash    hash.Hash
	relaxed bool
	limit   int // see Options.LineLimit; 0: none

	room    int  // bytes that the line still takes before Postfix breaks it
	blank   int  // line ends held back: those at the end of the body don't count
	content bool // the line has bytes that were hashed or are in out
	space   bool // relaxed: white space was seen that counts only if more follows
	cr      bool // the last byte was a CR, which may be half a line end
	any     bool // something was hashed
	out     []byte
	one     [1]byte
}

// outSize is when canonicalised bytes go to the hash.
const outSize = 2048

func newBody(relaxed bool, limit int) *body {
	return &body{hash: sha256.New(), relaxed: relaxed, limit: limit, room: limit, out: make([]byte, 0, outSize+len(crlf))}
}

// Write takes the next chunk.
func (b *body) Write(chunk []byte) {
	for len(chunk) > 0 {
		if b.atLineStart() {
			if n := b.clean(chunk); n > 0 {
				chunk = chunk[n:]
				continue
			}
		}
		end := bytes.IndexByte(chunk, '\n') + 1
		if end == 0 {
			end = len(chunk)
		}
		b.line(chunk[:end])
		chunk = chunk[end:]
	}
}

// line works through a line, or a piece of one: word by word where it has no CR of its own and fits, else byte by byte.
func (b *body) line(piece []byte) {
	text, ended := bytes.CutSuffix(piece, crlf)
	if b.cr || b.limit > 0 && len(text) > b.room || bytes.IndexByte(text, '\r') >= 0 || !ended && piece[len(piece)-1] == '\n' {
		for _, c := range piece {
			b.put(c)
		}
		return
	}
	b.room -= len(text)
	if b.relaxed {
		b.words(text)
	} else {
		b.write(text)
	}
	if ended {
		b.endLine()
	}
}

// words squeezes the white space of a piece of a line.
func (b *body) words(text []byte) {
	for at := 0; at < len(text); {
		start := at
		for at < len(text) && text[at] != ' ' && text[at] != '\t' {
			at++
		}
		b.write(text[start:at])
		for ; at < len(text) && (text[at] == ' ' || text[at] == '\t'); at++ {
			b.space = true
		}
	}
}

func (b *body) atLineStart() bool { return !b.content && !b.space && !b.cr && b.room == b.limit }

// clean hashes the lines at the chunk's start that need no change, and gives their length.
func (b *body) clean(chunk []byte) int {
	at, hashed := 0, 0 // hashed: up to here, empty lines that follow are held back
	blank := 0
	for {
		n := bytes.IndexByte(chunk[at:], '\n')
		if n < 1 || chunk[at+n-1] != '\r' {
			break
		}
		line := chunk[at : at+n-1]
		if len(line) == 0 {
			at += len(crlf)
			blank++
			continue
		}
		if b.limit > 0 && len(line) > b.limit || bytes.IndexByte(line, '\r') >= 0 || b.relaxed && squeezable(line) {
			break
		}
		at += n + 1
		hashed, blank = at, 0
	}
	if hashed > 0 {
		b.flushBlank()
		b.flush()
		b.hash.Write(chunk[:hashed])
		b.any = true
	}
	b.blank += blank
	return at
}

// squeezable tells whether relaxed canonicalisation changes a line: tabs, runs of spaces, space at its end.
func squeezable(line []byte) bool {
	return line[len(line)-1] == ' ' || bytes.IndexByte(line, '\t') >= 0 || bytes.Contains(line, doubleSpace)
}

var doubleSpace = []byte("  ")

// put takes one byte. A LF alone ends a line, since Postfix sends it as CR LF; a CR alone is text, since Postfix that still
// lets it in (cleanup_replace_stray_cr_lf) sends it as it is.
func (b *body) put(c byte) {
	if b.cr {
		b.cr = false
		if c == '\n' {
			b.endLine()
			return
		}
		b.text('\r')
	}
	switch c {
	case '\r':
		b.cr = true
	case '\n':
		b.endLine()
	default:
		b.text(c)
	}
}

// text takes a byte of a line, behind the CR LF SPACE with which Postfix breaks a line that is too long
// (smtp_line_length_limit in postconf(5); smtp_text_out in smtp_proto.c breaks it only when more follows).
func (b *body) text(c byte) {
	if b.limit > 0 {
		if b.room == 0 {
			b.endLine()
			b.canonical(' ')
			b.room--
		}
		b.room--
	}
	b.canonical(c)
}

func (b *body) canonical(c byte) {
	if b.relaxed && (c == ' ' || c == '\t') {
		b.space = true
		return
	}
	b.one[0] = c
	b.write(b.one[:])
}

// write takes bytes of a line that count, behind what was held back.
func (b *body) write(text []byte) {
	if len(text) == 0 {
		return
	}
	b.flushBlank()
	if b.space {
		b.space = false
		b.out = append(b.out, ' ')
	}
	b.content = true
	if len(b.out)+len(text) > outSize {
		b.flush()
		if len(text) > outSize {
			b.hash.Write(text)
			b.any = true
			return
		}
	}
	b.out = append(b.out, text...)
}

func (b *body) endLine() {
	if b.content {
		b.out = append(b.out, crlf...)
	} else {
		b.blank++
	}
	b.content, b.space, b.room = false, false, b.limit
}

// flushBlank hashes the empty lines that were held back, now that something follows them.
func (b *body) flushBlank() {
	for ; b.blank > 0; b.blank-- {
		b.out = append(b.out, crlf...)
		if len(b.out) >= outSize {
			b.flush()
		}
	}
}

func (b *body) flush() {
	if len(b.out) > 0 {
		b.hash.Write(b.out)
		b.out = b.out[:0]
		b.any = true
	}
}

// close ends the body and gives its hash. A last line without an end gets one, as Postfix gives it one; an empty body is a
// line end under simple and nothing under relaxed.
func (b *body) close() []byte {
	if b.cr {
		b.cr = false
		b.text('\r')
	}
	if b.content {
		b.endLine()
	}
	b.flush()
	if !b.any && !b.relaxed {
		b.hash.Write(crlf)
	}
	return b.hash.Sum(nil)
}
