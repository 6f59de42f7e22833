package relay

import (
	"fmt"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

// In failover the node tries the destination itself first. When that is not reachable from it, or defers, another carries.
func TestFailover(t *testing.T) {
	s := newSite(t, options{settings: "mode: failover", names: []map[string]string{{"refuses.example": "127.199.199.199"}}})
	s.ready(0, 2)
	if way := s.arrived(s.send(0, mail("a@shop.example", "user@remote.example"))); way != "n1" {
		t.Errorf("with the destination up: went %s, want n1", way)
	}
	// What n1 sees of each domain; the others see the server that takes everything.
	for _, c := range []struct {
		domain string
		sink   lab.SinkOptions
	}{
		{"refuses.example", lab.SinkOptions{}}, // no connection
		{"unknown.example", lab.SinkOptions{}}, // not in n1's names: no such host
		{"busy.example", lab.SinkOptions{SoftFail: []string{"CONNECT"}}},
		{"mail.example", lab.SinkOptions{SoftFail: []string{"MAIL"}}},
		{"greylist.example", lab.SinkOptions{SoftFail: []string{"RCPT"}}},
		{"data.example", lab.SinkOptions{SoftFail: []string{"DATA"}}},
		{"content.example", lab.SinkOptions{SoftFail: []string{"."}}},
	} {
		t.Run(c.domain, func(t *testing.T) {
			s := s.in(t)
			if len(c.sink.SoftFail) > 0 {
				s.must(s.nodes[0].Postfix.Name(c.domain, s.sink(c.domain, c.sink)))
			}
			for i := range 2 {
				s.must(s.nodes[i+1].Postfix.Name(c.domain, s.ip))
			}
			if way := s.arrived(s.send(0, mail("a@shop.example", "user@"+c.domain))); way != "n1>n2" && way != "n1>n3" {
				t.Errorf("went %s, want over n2 or n3", way)
			}
		})
	}
	t.Run("refused for good", func(t *testing.T) {
		s := s.in(t)
		ip := s.sink("no.example", lab.SinkOptions{HardFail: []string{"RCPT"}})
		s.must(s.nodes[0].Postfix.Name("no.example", ip))
		for i := range 2 {
			s.must(s.nodes[i+1].Postfix.Name("no.example", s.ip))
		}
		before := s.handed(0)
		id := s.send(0, mail("a@remote.example", "user@no.example"))
		if way := s.bounced("a@remote.example"); way != "n1" {
			t.Errorf("the notice went %s, want n1", way)
		}
		if ways := s.deliveries(id); len(ways) > 0 {
			t.Errorf("a message that was refused went %v", ways)
		}
		if now := s.handed(0); now != before {
			t.Errorf("handed %g connections, before %g", now, before)
		}
	})
}

// A destination that nobody reaches leaves its own reason in the origin's queue while there is nobody to hand over to.
func TestFailoverAlone(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: failover", names: []map[string]string{{"refuses.example": "127.199.199.199"}}})
	s.ready(0, 1)
	s.must(s.nodes[1].Kill())
	s.ready(0, 0)
	s.send(0, mail("alone@shop.example", "user@refuses.example"))
	s.until(func(ctx) error {
		return s.queued(0, "alone@shop.example", "connect to refuses.example[127.199.199.199]:25: Connection refused")
	})
}

// sink runs a server and gives its address.
func (s *site) sink(name string, o lab.SinkOptions) string {
	s.t.Helper()
	ip, err := lab.FreeHost()
	s.must(err)
	o.Name = name
	address, err := s.lab.StartSink(s.ctx, o)
	s.must(err)
	_, err = s.lab.StartTapAt(ip+":25", address)
	s.must(err)
	return ip
}

// bounced waits for the notice to a sender at remote.example and gives its way.
func (s *site) bounced(to string) (way string) {
	s.t.Helper()
	s.until(func(ctx) error {
		for _, taken := range s.tap.Taken() {
			if taken.Accepted && taken.Sender == "" && len(taken.Recipients) == 1 && taken.Recipients[0] == to {
				way = wayOf(taken.Content)
				return nil
			}
		}
		return fmt.Errorf("no notice to %s", to)
	})
	return way
}
