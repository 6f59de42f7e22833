package ha

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// Waits of the client. RFC 5321 section 4.5.3.2 has minutes; a mail server that is told to give up sooner does the same
// things sooner.
const (
	connectTimeout = 5 * time.Second
	replyTimeout   = 15 * time.Second
	firstWait      = 500 * time.Millisecond // between rounds over all addresses
	longestWait    = 4 * time.Second
)

// cause is why an attempt ended as it did.
type cause string

const (
	accepted   cause = "accepted"
	refused    cause = "refused"    // the connection
	unreached  cause = "no answer"  // to the connection
	hungUp     cause = "lost early" // the connection, before the final dot
	ambiguous  cause = "lost late"  // the connection, between the final dot and its reply
	deferredBy cause = "4xx"
	rejected   cause = "5xx"
	noAddress  cause = "no address" // of the name
)

// attempt is one try to hand over a mail to one address.
type attempt struct {
	begin, end time.Time
	server     string // HOST:PORT
	cause      cause
	detail     string // reply, or error
	queueID    string // when accepted
}

// sent is a mail with all attempts; the last one was accepted, unless the test ended before.
type sent struct {
	id       string
	path     string
	attempts []attempt
}

// last is the attempt that was accepted.
func (m *sent) last() *attempt { return &m.attempts[len(m.attempts)-1] }

// sender is a mail server that has mail for the fleet: it asks the fleet's name for addresses, tries them in random order
// (RFC 5321 section 5.1), and keeps mail until somebody takes it.
type sender struct {
	path    string
	host    *lab.Host
	from    string // its own address
	servers func(ctx context.Context) ([]string, error)

	mu   sync.Mutex
	done []*sent
}

// deliver hands one mail over, with as many attempts as it takes.
func (c *sender) deliver(ctx context.Context, m *lab.Mail) {
	content := m.Content()
	mail := &sent{id: m.ID, path: c.path}
	wait := firstWait
	for ctx.Err() == nil {
		begin := time.Now()
		servers, err := c.servers(ctx)
		if err != nil || len(servers) == 0 {
			mail.attempts = append(mail.attempts, attempt{begin: begin, end: time.Now(), cause: noAddress, detail: fmt.Sprint(err)})
		}
		rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
		for _, server := range servers {
			a := c.try(ctx, server, m, content)
			mail.attempts = append(mail.attempts, a)
			if a.cause == accepted || a.cause == rejected {
				c.mu.Lock()
				c.done = append(c.done, mail)
				c.mu.Unlock()
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(wait*2, longestWait)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, mail)
}

// try makes one attempt.
func (c *sender) try(ctx context.Context, server string, m *lab.Mail, content []byte) (a attempt) {
	a = attempt{begin: time.Now(), server: server}
	defer func() { a.end = time.Now() }()
	dialing, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.host.DialFrom(dialing, c.from, "tcp", server)
	if err != nil {
		a.cause, a.detail = unreached, err.Error()
		if errors.Is(err, syscall.ECONNREFUSED) {
			a.cause = refused
		}
		return a
	}
	defer conn.Close()
	text := textproto.NewConn(conn)
	a.cause = hungUp // until something better is known
	say := func(expect int, format string, args ...any) error {
		if err := conn.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
			return err
		}
		if format != "" {
			if err := text.PrintfLine(format, args...); err != nil {
				return err
			}
		}
		_, reply, err := text.ReadResponse(expect)
		if _, id, found := strings.Cut(reply, "queued as "); found {
			a.queueID = strings.TrimSpace(id)
		}
		return err
	}
	steps := []func() error{
		func() error { return say(220, "") },
		func() error { return say(250, "EHLO client.example") },
		func() error { return say(250, "MAIL FROM:<%s>", m.From) },
		func() error { return say(250, "RCPT TO:<%s>", m.To[0]) },
		func() error { return say(354, "DATA") },
		func() error {
			data := text.DotWriter()
			if err := c.write(data, text.W.Flush, content, m.Subject == slow); err != nil {
				return err
			}
			a.cause = ambiguous // from here on the server may have all of it
			return data.Close()
		},
		func() error { return say(250, "") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return c.failed(conn, text, a, err)
		}
	}
	a.cause = accepted
	_ = say(221, "QUIT") // the mail is theirs whatever comes now
	return a
}

// slow is the subject of mail that takes a second to send, so that every fault finds sessions in the middle of a message.
const slow = "slow"

func (c *sender) write(to io.Writer, flush func() error, content []byte, slowly bool) error {
	if !slowly {
		_, err := to.Write(content)
		return err
	}
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	for piece := range slices.Chunk(content, len(content)/10+1) {
		<-tick.C
		if _, err := to.Write(piece); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

// failed says why an attempt ended.
func (c *sender) failed(conn net.Conn, text *textproto.Conn, a attempt, err error) attempt {
	a.detail = err.Error()
	var reply *textproto.Error
	if errors.As(err, &reply) {
		a.cause = deferredBy
		if reply.Code >= 500 {
			a.cause = rejected
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_ = text.PrintfLine("QUIT")
		_, _ = io.Copy(io.Discard, conn)
	}
	return a
}

// throughDNS is a sender that looks the mail service up.
func (s *site) throughDNS() *sender {
	return &sender{path: "DNS", host: s.client, from: clientIP, servers: func(ctx context.Context) ([]string, error) {
		addresses, err := s.lookup(ctx, mailName)
		for i := range addresses {
			addresses[i] = net.JoinHostPort(addresses[i], "25")
		}
		return addresses, err
	}}
}

// throughHAProxy is a sender that knows the balancer alone.
func (s *site) throughHAProxy() *sender {
	return &sender{path: "HAProxy", host: s.client, from: clientIP, servers: func(context.Context) ([]string, error) {
		return []string{net.JoinHostPort(frontIP, "25")}, nil
	}}
}

// sentMails are the mails that are done with.
func (c *sender) sentMails() []*sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*sent(nil), c.done...)
}

// mailFor is a mail for the sink, to a recipient of its own: Postfix keeps the way to the last recipient for 30 s, for mail of
// the same sender (resolve_clnt.c), so that a change of mode would show late.
func mailFor(subject string) *lab.Mail {
	id := lab.NewID()
	return &lab.Mail{From: "orders@" + senderDomain, To: []string{id[:8] + "@" + recipientDomain}, Subject: subject, Text: "How are you?", ID: id}
}
