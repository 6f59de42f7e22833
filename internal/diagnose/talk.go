package diagnose

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// talk is an SMTP conversation. A server is a stranger: whatever it says is bounded in size and time.
type talk struct {
	conn   net.Conn
	reader *bufio.Reader
	lines  []string // what was said, as evidence: "> " we, "< " the server
	banner string
}

// Bounds of a conversation.
const (
	talkTimeout = 20 * time.Second
	maxTalk     = 64 << 10
)

// reply is a server's answer to one command.
type reply struct {
	code  int
	lines []string // without the code
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, strings.Join(r.lines, " ")) }

// has tells whether a reply to EHLO offers an extension.
func (r reply) has(keyword string) bool {
	for _, line := range r.lines[min(1, len(r.lines)):] {
		if word, _, _ := strings.Cut(line, " "); strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

var errGreeting = errors.New("the server greets with something else than 220")

// dial connects and reads the greeting. from is the address to come from; the zero address lets the system choose.
func dial(ctx context.Context, from netip.Addr, address string, wrap *tls.Config) (*talk, error) {
	dialer := net.Dialer{Timeout: talkTimeout}
	if from.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IP(from.AsSlice())}
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	t := &talk{conn: conn}
	deadline := time.Now().Add(talkTimeout)
	if until, ok := ctx.Deadline(); ok && until.Before(deadline) {
		deadline = until
	}
	err = conn.SetDeadline(deadline)
	if err == nil && wrap != nil {
		t.conn = tls.Client(conn, wrap)
	}
	t.reader = bufio.NewReader(io.LimitReader(t.conn, maxTalk))
	var hello reply
	if err == nil {
		hello, err = t.read()
	}
	if err == nil && hello.code != 220 {
		err = fmt.Errorf("%w: %s", errGreeting, hello)
	}
	if err != nil {
		_ = conn.Close() // it is of no use any more; err says why
		return nil, err
	}
	t.banner = hello.String()
	return t, nil
}

func (t *talk) read() (r reply, err error) {
	for {
		line, err := t.reader.ReadString('\n')
		if err != nil {
			return r, fmt.Errorf("read reply: %w", err)
		}
		line = strings.TrimRight(line, "\r\n")
		t.lines = append(t.lines, "< "+line)
		if len(line) < 3 {
			return r, fmt.Errorf("%.80q is no SMTP reply", line)
		}
		if r.code, err = strconv.Atoi(line[:3]); err != nil {
			return r, fmt.Errorf("%.80q is no SMTP reply", line)
		}
		r.lines = append(r.lines, strings.TrimSpace(line[min(4, len(line)):]))
		if len(line) == 3 || line[3] != '-' {
			return r, nil
		}
	}
}

// say sends a command and gives the answer.
func (t *talk) say(command string) (reply, error) {
	t.lines = append(t.lines, "> "+command)
	if _, err := io.WriteString(t.conn, command+"\r\n"); err != nil {
		return reply{}, fmt.Errorf("send %.20s: %w", command, err)
	}
	return t.read()
}

// startTLS goes over to TLS after the server agreed; the certificate is looked at elsewhere.
func (t *talk) startTLS(ctx context.Context, name string) (tls.ConnectionState, error) {
	answer, err := t.say("STARTTLS")
	if err != nil {
		return tls.ConnectionState{}, err
	}
	if answer.code != 220 {
		return tls.ConnectionState{}, fmt.Errorf("the server answers %s to STARTTLS", answer)
	}
	// Mail is encrypted whoever answers, and with what they have (RFC 7435): in clear would be worse.
	config := &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10} //nolint:gosec // see above
	secure := tls.Client(t.conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, fmt.Errorf("TLS handshake: %w", err)
	}
	t.conn, t.reader = secure, bufio.NewReader(io.LimitReader(secure, maxTalk))
	return secure.ConnectionState(), nil
}

// leave says QUIT, so that the server logs no lost connection, and closes.
func (t *talk) leave() {
	_, _ = t.say("QUIT") // a courtesy
	_ = t.conn.Close()
}
