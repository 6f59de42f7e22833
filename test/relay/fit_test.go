package relay

import (
	"fmt"
	"strings"
	"testing"
)

// A node that drains, or whose queue is too long, says so when it is asked, and gets no mail of others until it is over.
func TestUnfitCarrier(t *testing.T) {
	s := newSite(t, options{settings: "mode: balance\ncarry: [n2, n3]\nmax_queue: 2\nrules: [{domain: stays.example, mode: off}]",
		names: []map[string]string{{}, {"waits.example": "127.199.199.199"}}})
	s.ready(0, 2)
	t.Run("draining", func(t *testing.T) {
		s := s.in(t)
		s.command("drain", "--config", s.nodes[1].Config)
		s.ready(0, 1)
		s.only("n1>n3")
		s.command("undrain", "--config", s.nodes[1].Config)
		s.ready(0, 2)
	})
	t.Run("queue", func(t *testing.T) {
		s := s.in(t)
		for i := range 3 {
			s.send(1, mail(fmt.Sprintf("w%d@stays.example", i), "user@waits.example"))
		}
		s.ready(0, 1)
		s.only("n1>n3")
		s.must(s.nodes[1].Postfix.Name("waits.example", s.ip))
		s.must(s.nodes[1].Postfix.Flush(s.ctx))
		s.ready(0, 2)
	})
}

// only sends some mail that has to go one way.
func (s *site) only(way string) {
	s.t.Helper()
	for i := range 6 {
		if got := s.arrived(s.send(0, mail(fmt.Sprintf("o%d@shop.example", i), "user@remote.example"))); got != way {
			s.t.Errorf("went %s, want %s", got, way)
		}
	}
}

// command runs postfleet.
func (s *site) command(args ...string) {
	s.t.Helper()
	if out, err := s.lab.Run(s.ctx, binary, args...); err != nil {
		s.t.Fatalf("postfleet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
