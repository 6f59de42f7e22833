package relay

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

func TestOff(t *testing.T) {
	s := newSite(t, options{})
	s.ready(0, 2)
	for i := range 5 {
		if way := s.arrived(s.send(0, mail("a@shop.example", fmt.Sprintf("u%d@remote.example", i)))); way != "n1" {
			t.Errorf("went %s, want n1 alone", way)
		}
	}
}

// In balance every node gets its share by weight, the own node too; no mail goes over more than one other node.
func TestBalance(t *testing.T) {
	s := newSite(t, options{settings: "mode: balance", weights: []int{1, 2, 3}})
	s.ready(0, 2)
	const messages = 240
	var mails []lab.Mail
	for i := range messages {
		m := mail(fmt.Sprintf("sender%d@shop.example", i), "user@remote.example")
		m.ID = lab.NewID()
		mails = append(mails, m)
	}
	_, err := lab.Client{}.Send(s.ctx, s.nodes[0].Postfix.Addr, mails...)
	s.must(err)
	ways := map[string]int{}
	for i := range mails {
		ways[s.arrived(mails[i].ID)]++
	}
	t.Logf("of %d messages: %v", messages, ways)
	for way, weight := range map[string]int{"n1": 1, "n1>n2": 2, "n1>n3": 3} {
		// Turns are drawn: one run in a million is five standard deviations off.
		share := float64(weight) / 6
		if want := messages * share; math.Abs(float64(ways[way])-want) > 5*math.Sqrt(messages*share*(1-share)) {
			t.Errorf("%d messages went %s, want about %g", ways[way], way, want)
		}
		delete(ways, way)
	}
	if len(ways) > 0 {
		t.Errorf("others went %v", ways)
	}
}

// A carrier that is gone costs the next address of the list, and nothing else.
func TestDeadCarrier(t *testing.T) {
	s := newSite(t, options{settings: "mode: balance\ncarry: [n2, n3]"})
	s.ready(0, 2)
	s.must(s.nodes[1].Kill())
	for i := range 10 {
		if way := s.arrived(s.send(0, mail(fmt.Sprintf("s%d@shop.example", i), "user@remote.example"))); way != "n1>n3" {
			t.Errorf("went %s, want n1>n3", way)
		}
	}
}

func TestNoCarrier(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.ready(0, 1)
	if way := s.arrived(s.send(0, mail("a@shop.example", "one@remote.example"))); way != "n1>n2" {
		t.Fatalf("went %s, want n1>n2", way)
	}
	s.must(s.nodes[1].Kill())
	s.ready(0, 0)
	if way := s.arrived(s.send(0, mail("b@shop.example", "two@remote.example"))); way != "n1" {
		t.Errorf("without a carrier: went %s, want n1", way)
	}
	s.reconfigure(0, "carry: [n2]", "carry: [n2]\n  no_carrier: keep")
	var id string
	s.until(func(context.Context) error { // until the new setting holds
		id = s.send(0, mail("c@shop.example", lab.NewID()[:8]+"@remote.example"))
		return s.queued(0, "c@shop.example", "n2: ")
	})
	if ways := s.deliveries(id); len(ways) > 0 {
		t.Fatalf("kept mail went %v", ways)
	}
	s.must(s.nodes[1].Start(s.ctx))
	if way := s.arrived(id); way != "n1>n2" {
		t.Errorf("kept mail went %s, want n1>n2", way)
	}
}

// queued is nil while a sender's message waits on a node for a reason with that text in it.
func (s *site) queued(i int, sender, reason string) error {
	queue, err := s.nodes[i].Postfix.Queue(s.ctx)
	if err != nil {
		return err
	}
	for _, m := range queue {
		for _, r := range m.Recipients {
			if m.Sender == sender && regexp.MustCompile(regexp.QuoteMeta(reason)).MatchString(r.DelayReason) {
				return nil
			}
		}
	}
	return fmt.Errorf("no message of %s waits for %q: %+v", sender, reason, queue)
}
