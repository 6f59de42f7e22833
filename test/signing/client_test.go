package signing

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/textproto"
	"testing"
	"time"
)

// client speaks SMTP byte for byte: what it is given is what goes onto the wire, with dots stuffed.
type client struct {
	t    *testing.T
	conn net.Conn
	text *textproto.Reader
}

// connect opens a session from a loopback address. 127.0.0.1 is one of Postfix's own (local_header_rewrite_clients): it
// rewrites and completes headers of mail from there. 127.0.0.2 is a client like any other in mynetworks.
func connect(t *testing.T, server, from string) *client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &client{t, conn, textproto.NewReader(bufio.NewReader(conn))}
	c.expect(220)
	c.command(250, "EHLO client.example")
	return c
}

// encrypt begins TLS, with whoever is there.
func (c *client) encrypt() {
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	c.conn, c.text = secure, textproto.NewReader(bufio.NewReader(secure))
}

func (c *client) expect(code int) string {
	c.t.Helper()
	_, text, err := c.text.ReadResponse(code)
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

func (c *client) command(code int, format string, args ...any) string {
	c.t.Helper()
	fmt.Fprintf(c.conn, format+"\r\n", args...)
	return c.expect(code)
}

// data sends a message with DATA.
func (c *client) data(content []byte) {
	c.t.Helper()
	c.command(354, "DATA")
	stuffed := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(stuffed, []byte(".")) {
		stuffed = append([]byte("."), stuffed...)
	}
	if _, err := c.conn.Write(append(stuffed, ".\r\n"...)); err != nil {
		c.t.Fatal(err)
	}
	c.expect(250)
}

// chunks sends a message with BDAT (RFC 3030), in pieces of a size.
func (c *client) chunks(content []byte, size int) {
	c.t.Helper()
	for {
		n := min(size, len(content))
		last := ""
		if n == len(content) {
			last = " LAST"
		}
		fmt.Fprintf(c.conn, "BDAT %d%s\r\n", n, last)
		if _, err := c.conn.Write(content[:n]); err != nil {
			c.t.Fatal(err)
		}
		c.expect(250)
		if content = content[n:]; last != "" {
			return
		}
	}
}

func (c *client) quit() {
	c.t.Helper()
	c.command(221, "QUIT")
	_ = c.conn.Close()
}
