package ha

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// sink is a remote server that takes everything and keeps what tells how it came.
type sink struct {
	closing chan struct{}

	mu     sync.Mutex
	copies []*arrival
}

// arrival is one copy of a mail.
type arrival struct {
	id      string // Message-ID without brackets
	at      time.Time
	peer    string // address of who brought it
	content []byte
	way     []step // origin first
	// heard: the peer went on after the reply, so it knows that the mail arrived.
	heard bool
	// lost: it was carried, and the origin's log doesn't have the carrier's reply. The origin was killed before it wrote it down.
	lost bool
}

// step is a Postfix that took the mail: its Received header.
type step struct{ node, queueID string }

func (s *site) startSink(ctx context.Context) (*sink, error) {
	listener, err := s.outside.Listen(ctx, "tcp", net.JoinHostPort(sinkIP, "25"))
	if err != nil {
		return nil, fmt.Errorf("start sink: %w", err)
	}
	k := &sink{closing: make(chan struct{})}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]struct{}{}
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = struct{}{}
			mu.Unlock()
			running.Go(func() {
				k.serve(conn)
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	s.OnClose("stop sink", func() error {
		err := listener.Close()
		close(k.closing)
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
		return err
	})
	return k, nil
}

// serve talks SMTP (RFC 5321) as far as a Postfix client needs it.
func (k *sink) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Minute))
	peer, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	in := bufio.NewReader(conn)
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 mx.remote.example ESMTP")
	var last *arrival
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if last != nil {
			k.mu.Lock()
			last.heard = true
			k.mu.Unlock()
			last = nil
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "EHLO":
			say("250-mx.remote.example\r\n250-8BITMIME\r\n250 SIZE")
		case "DATA":
			say("354 go on")
			content, err := readData(in)
			if err != nil {
				return
			}
			if last, err = newArrival(peer, content); err != nil {
				say("554 5.6.0 " + err.Error())
				continue
			}
			k.mu.Lock()
			k.copies = append(k.copies, last)
			k.mu.Unlock()
			k.think(len(content))
			say("250 2.0.0 Ok")
		case "QUIT":
			say("221 2.0.0 Bye")
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}

// think takes up to half a second before a reply, so that every fault finds deliveries that the other side doesn't know to
// have succeeded.
func (k *sink) think(about int) {
	select {
	case <-time.After(time.Duration(about%6) * time.Second / 10):
	case <-k.closing:
	}
}

// readData reads up to the dot on a line of its own and takes stuffed dots away (RFC 5321 section 4.5.2).
func readData(in *bufio.Reader) ([]byte, error) {
	var content []byte
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if bytes.Equal(line, []byte(".\r\n")) {
			return content, nil
		}
		content = append(content, bytes.TrimPrefix(line, []byte("."))...)
	}
}

// received finds the Postfix and its queue id in a Received header.
var received = regexp.MustCompile(`\bby (\S+)\.fleet\.example \(Postfix\)(?: with \S+)? id (\w+)`)

func newArrival(peer string, content []byte) (*arrival, error) {
	message, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	a := &arrival{id: strings.Trim(message.Header.Get("Message-Id"), "<>"), at: time.Now(), peer: peer, content: content}
	if a.id == "" {
		return nil, errors.New("no Message-ID")
	}
	for _, header := range message.Header["Received"] {
		found := received.FindStringSubmatch(strings.Join(strings.Fields(header), " "))
		if found == nil {
			return nil, fmt.Errorf("a Received header of somebody else: %s", header)
		}
		a.way = append(a.way, step{found[1], found[2]})
	}
	slices.Reverse(a.way)
	if len(a.way) == 0 {
		return nil, errors.New("no Received header")
	}
	return a, nil
}

// taken are the copies so far, by Message-ID.
func (k *sink) taken() map[string][]*arrival {
	k.mu.Lock()
	defer k.mu.Unlock()
	taken := map[string][]*arrival{}
	for _, a := range k.copies {
		copied := *a
		taken[a.id] = append(taken[a.id], &copied)
	}
	return taken
}

// arrived is a check that a mail is there.
func (k *sink) arrived(id string) func(context.Context) error {
	return func(context.Context) error {
		if len(k.taken()[id]) == 0 {
			return fmt.Errorf("%s has not arrived", id)
		}
		return nil
	}
}
