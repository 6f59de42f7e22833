package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Before any SMTP the two gates exchange a line each, so that both know what the connection is for and why it may not be:
//
//	postfleet-hop/1 carry    what follows is an SMTP session
//	postfleet-hop/1 probe    asks whether the node would carry
//
// answered by "ok" or "no" and a reason.
const (
	protocol   = "postfleet-hop/1 "
	carryLine  = "carry"
	probeLine  = "probe"
	okLine     = "ok"
	refuseLine = "no"
	maxLine    = 256 // bytes, with the line end
)

var errLine = errors.New("not the protocol of a postfleet node")

// readLine reads a line byte by byte, since what comes after it is not ours.
func readLine(r io.Reader) (string, error) {
	var line [maxLine]byte
	for n := range line {
		if _, err := io.ReadFull(r, line[n:n+1]); err != nil {
			return "", noEOF(err)
		}
		if line[n] == '\n' {
			return string(line[:n]), nil
		}
	}
	return "", errLine
}

func writeLine(w io.Writer, text string) error {
	if len(text) >= maxLine {
		text = text[:maxLine-1]
	}
	_, err := io.WriteString(w, text+"\n")
	return err
}

// refusedError is a node that was reached and takes no mail at this moment.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return e.reason }

// request is the calling side of the exchange.
func request(conn io.ReadWriter, what string) error {
	if err := writeLine(conn, protocol+what); err != nil {
		return err
	}
	line, err := readLine(conn)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	word, reason, _ := strings.Cut(line, " ")
	switch word {
	case okLine:
		return nil
	case refuseLine:
		return &refusedError{printable(reason)}
	}
	return errLine
}

// printable keeps a text to one line of ASCII, which is what an SMTP reply and a log may have.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
}

// greeted is a connection whose first bytes were read already.
type greeted struct {
	*tls.Conn
	first []byte
}

// greeting waits until the carrier's Postfix begins to speak, as a server does first (RFC 5321 section 3.1). One that hangs takes
// connections all the same, from the kernel's queue.
func greeting(conn *tls.Conn, within time.Duration) (*greeted, error) {
	g := &greeted{Conn: conn, first: make([]byte, maxGreeting)}
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	n, err := conn.Read(g.first)
	if n == 0 && err != nil {
		return nil, fmt.Errorf("its Postfix doesn't greet: %w", noEOF(err))
	}
	g.first = g.first[:n]
	return g, conn.SetReadDeadline(time.Time{})
}

// maxGreeting is more than a reply line may have (RFC 5321 section 4.5.3.1.5); what is longer is read later.
const maxGreeting = 1024

// Read gives the first bytes, then those of the connection.
func (g *greeted) Read(p []byte) (int, error) {
	if len(g.first) > 0 {
		n := copy(p, g.first)
		g.first = g.first[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}
