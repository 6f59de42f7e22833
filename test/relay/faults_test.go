package relay

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

// While nobody answers Postfix's questions mail waits, at the client or in the queue; nothing bounces, and nothing is lost.
func TestMapIsGone(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]", main: map[string]string{"milter_default_action": "accept"}})
	s.ready(0, 1)
	s.must(s.nodes[0].Kill())
	m := mail("waits@shop.example", "queued@remote.example")
	m.ID = lab.NewID()
	s.must(s.nodes[0].Postfix.Sendmail(s.ctx, m))
	s.until(func(ctx) error { return s.queued(0, "waits@shop.example", "") })
	outcomes, err := lab.Client{}.Send(s.ctx, s.nodes[0].Postfix.Addr, mail("b@shop.example", "refused@remote.example"))
	s.must(err)
	if reply := outcomes[0].Refused["refused@remote.example"]; reply == "" || reply[0] != '4' {
		t.Errorf("a client heard %q, want 4xx", reply)
	}
	s.must(s.nodes[0].Start(s.ctx))
	if way := s.arrived(m.ID); way != "n1>n2" && way != "n1" {
		t.Errorf("went %s", way)
	}
	for _, taken := range s.tap.Taken() {
		if taken.Sender == "" {
			t.Errorf("somebody got a notice: %s", taken.Content)
		}
	}
}

var hopConnect = regexp.MustCompile(`postfleet-hop/smtpd\[(\d+)\]: connect from`)

// A daemon that is killed while a message passes through it leaves the message in the origin's queue, and it arrives once.
func TestKilledInTransfer(t *testing.T) {
	for _, c := range []struct {
		name   string
		victim int
	}{{"the carrier's daemon", 1}, {"the origin's daemon", 0}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
			s.ready(0, 1)
			m := mail("large@shop.example", "user@remote.example")
			m.Text = string(bytes.Repeat([]byte("A line of a large message, seventy characters long, again and again.\n"), 600_000)) // 40 MB
			id := s.send(0, m)
			// The receiving smtpd is stopped as it begins, so that most of the message is still on its way.
			pid := 0
			s.until(func(ctx) error {
				log, err := os.ReadFile(s.nodes[1].Postfix.Log)
				if err != nil {
					return err
				}
				found := hopConnect.FindSubmatch(log)
				if found == nil {
					return errors.New("nothing has come to n2 yet")
				}
				pid, err = strconv.Atoi(string(found[1]))
				return err
			})
			s.must(syscall.Kill(pid, syscall.SIGSTOP))
			s.must(s.nodes[c.victim].Kill())
			s.must(syscall.Kill(pid, syscall.SIGCONT))
			if ways := s.deliveries(id); len(ways) > 0 {
				t.Fatalf("the message had arrived before the kill: %v", ways)
			}
			if c.victim == 0 {
				s.must(s.nodes[0].Start(s.ctx))
			}
			way := s.arrived(id)
			t.Logf("it went %s", way)
			s.empty()
			s.arrived(id) // once
		})
	}
}

// empty waits until no node has anything in its queue.
func (s *site) empty() {
	s.t.Helper()
	s.until(func(ctx ctx) error {
		for i := range s.nodes {
			queue, err := s.nodes[i].Postfix.Queue(ctx)
			if err != nil {
				return err
			}
			if len(queue) > 0 {
				return fmt.Errorf("queue of %s: %+v", name(i), queue)
			}
		}
		return nil
	})
}
