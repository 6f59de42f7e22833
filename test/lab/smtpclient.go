package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os/exec"
	"strings"
	"time"
)

// Client sends mail over SMTP the way a mail program does, and keeps every reply.
type Client struct {
	From     string // source address, to choose between fleet and outside world; 127.0.0.1 when empty
	StartTLS bool   // the certificate is not checked: it is the lab's own
	User     string // AUTH PLAIN
	Password string
}

// Outcome is what the server said about one message.
type Outcome struct {
	QueueID string            // when the message was accepted
	Reply   string            // last reply about the message
	Refused map[string]string // recipient to reply
	Err     error             // the message as a whole was refused
}

// session is a connection in the middle of a conversation.
type session struct {
	conn net.Conn
	text *textproto.Conn
}

// Send hands messages over one connection. An error means that the conversation broke; what the server said of the
// messages before that is in the outcomes.
func (c Client) Send(ctx context.Context, server string, mails ...Mail) ([]Outcome, error) {
	s, err := c.dial(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("send mail to %s: %w", server, err)
	}
	defer s.conn.Close()
	var outcomes []Outcome
	for i := range mails {
		outcome, err := s.send(&mails[i])
		if err != nil {
			return outcomes, fmt.Errorf("send mail to %s: %w", server, err)
		}
		outcomes = append(outcomes, outcome)
	}
	_, _, err = s.command(221, "QUIT")
	return outcomes, err
}

func (c Client) dial(ctx context.Context, server string) (*session, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if c.From != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.From)}
	}
	conn, err := dialer.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s := &session{conn, textproto.NewConn(conn)}
	if err := c.greet(s); err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	return s, nil
}

func (c Client) greet(s *session) error {
	if _, _, err := s.text.ReadResponse(220); err != nil {
		return err
	}
	if _, _, err := s.command(250, "EHLO client.example"); err != nil {
		return err
	}
	if c.StartTLS {
		if _, _, err := s.command(220, "STARTTLS"); err != nil {
			return err
		}
		s.conn = tls.Client(s.conn, &tls.Config{InsecureSkipVerify: true})
		s.text = textproto.NewConn(s.conn)
		if _, _, err := s.command(250, "EHLO client.example"); err != nil {
			return err
		}
	}
	if c.User != "" {
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + c.User + "\x00" + c.Password))
		if _, _, err := s.command(235, "AUTH PLAIN %s", plain); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) command(expect int, format string, args ...any) (int, string, error) {
	if err := s.text.PrintfLine(format, args...); err != nil {
		return 0, "", err
	}
	return s.text.ReadResponse(expect)
}

// refusal tells a reply that is only not the wanted one from a conversation that broke.
func refusal(err error) (string, bool) {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Error(), true
	}
	return "", false
}

func (s *session) send(m *Mail) (Outcome, error) {
	outcome := Outcome{Refused: map[string]string{}}
	fail := func(err error) (Outcome, error) {
		reply, ok := refusal(err)
		if !ok {
			return outcome, err
		}
		outcome.Reply, outcome.Err = reply, err
		_, _, err = s.command(250, "RSET")
		return outcome, err
	}
	parameters := ""
	if m.UTF8 {
		parameters = " SMTPUTF8 BODY=8BITMIME"
	}
	if _, _, err := s.command(250, "MAIL FROM:<%s>%s", m.From, parameters); err != nil {
		return fail(err)
	}
	for _, to := range m.To {
		if _, _, err := s.command(250, "RCPT TO:<%s>", to); err != nil {
			reply, ok := refusal(err)
			if !ok {
				return outcome, err
			}
			outcome.Refused[to] = reply
		}
	}
	if _, _, err := s.command(354, "DATA"); err != nil {
		return fail(err)
	}
	data := s.text.DotWriter()
	if _, err := data.Write(m.Content()); err != nil {
		return outcome, err
	}
	if err := data.Close(); err != nil {
		return outcome, err
	}
	_, text, err := s.text.ReadResponse(250)
	if err != nil {
		return fail(err)
	}
	outcome.Reply = "250 " + text
	if _, id, found := strings.Cut(text, "queued as "); found {
		outcome.QueueID = strings.TrimSpace(id)
	}
	return outcome, nil
}

// Sendmail submits a message on the host itself with sendmail(1).
func (p *Postfix) Sendmail(ctx context.Context, m Mail) error {
	args := append([]string{"-C", p.Conf, "-i", "-f", m.From, "--"}, m.To...)
	return p.host.do(func() error {
		cmd := exec.CommandContext(ctx, "/usr/sbin/sendmail", args...)
		cmd.Stdin = bytes.NewReader(bytes.ReplaceAll(m.Content(), []byte("\r\n"), []byte("\n")))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
		return nil
	})
}
