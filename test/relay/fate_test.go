package relay

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/test/lab"
)

// api asks a node as an aggregator does.
func (s *site) api(i int) *nodeapi.Client {
	s.t.Helper()
	id, err := s.lab.Issue(s.ctx, binary, "aggregator", fmt.Sprintf("page%d", i))
	s.must(err)
	return s.apiAs(i, id)
}

// asNode asks a node as another one does.
func (s *site) asNode(i, who int) *nodeapi.Client {
	s.t.Helper()
	holder := "node-" + name(who)
	return s.apiAs(i, lab.Identity{Cert: s.lab.Path("pki", holder+".pem"), Key: s.lab.Path("pki", holder+".key"), CA: s.lab.Path("pki", "ca.pem")})
}

func (s *site) apiAs(i int, id lab.Identity) *nodeapi.Client {
	s.t.Helper()
	files, err := pki.NewFiles(pki.FileOptions{Cert: id.Cert, Key: id.Key, CA: id.CA, Log: zap.NewNop()})
	s.must(err)
	client, err := nodeapi.NewClient(nodeapi.ClientOptions{Node: name(i), Base: "https://" + s.nodes[i].API,
		TLS: pki.ClientConfig(pki.Options{Source: files, Scheme: pki.FleetScheme}, pki.Identity{Role: pki.Node, Name: name(i)})})
	s.must(err)
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// remote runs another server of the outside world, which all nodes know from then on.
func (s *site) remote(domain string, o lab.SinkOptions) {
	s.t.Helper()
	ip, err := lab.FreeHost()
	s.must(err)
	o.Name = domain
	sink, err := s.lab.StartSink(s.ctx, o)
	s.must(err)
	_, err = s.lab.StartTapAt(net.JoinHostPort(ip, "25"), sink)
	s.must(err)
	s.point(domain, ip)
}

// point lets a domain's mail server be elsewhere.
func (s *site) point(domain, ip string) {
	s.t.Helper()
	for _, node := range s.nodes {
		s.must(node.Postfix.Name(domain, ip))
	}
}

// message waits until a node has a message under which all recipients have the fates that are asked for, "to=status" each.
func (s *site) message(from *nodeapi.Client, id string, want ...string) (m *fleet.Message) {
	s.t.Helper()
	s.until(func(ctx context.Context) error {
		page, err := from.Messages(ctx, fleet.Query{MessageID: id})
		if err != nil {
			return err
		}
		if len(page.Messages) != 1 {
			return fmt.Errorf("%d messages %s", len(page.Messages), id)
		}
		m = &page.Messages[0]
		var got []string
		for i := range m.Recipients {
			local, _, _ := strings.Cut(m.Recipients[i].Address, "@")
			got = append(got, local+"="+string(m.Recipients[i].Status))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("message %s: %v, want %v", id, got, want)
		}
		return nil
	})
	return m
}

// TestFateComesBack: whatever becomes of a mail on the node that carries it, the origin tells.
func TestFateComesBack(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.remote("refuses.example", lab.SinkOptions{HardFail: []string{"RCPT"}, HardReply: "550 5.1.1 No such user here"})
	s.remote("defers.example", lab.SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted"})
	s.ready(0, 1)
	origin, carrier := s.api(0), s.api(1)
	id := s.send(0, lab.Mail{From: "a@shop.example", To: []string{"one@remote.example", "two@refuses.example", "three@defers.example"}, Text: "x"})
	m := s.message(origin, id, "one=delivered", "two=bounced", "three=deferred")
	if m.IsHop() || m.Fate() != fleet.FateDeferred || m.InQueue() || !m.Waits() {
		t.Errorf("hop %v, fate %s, in queue %v", m.IsHop(), m.Fate(), m.InQueue())
	}
	for i, want := range []string{"250 2.0.0 Ok", "550 5.1.1 No such user here", "450 4.2.0 Greylisted"} {
		r := &m.Recipients[i]
		if r.Carrier() != "n2" || !strings.Contains(r.Reply, want) || r.Carried.RelayAddr == "127.43.0.10" {
			t.Errorf("%s: carrier %q, reply %q, relay %s", r.Address, r.Carrier(), r.Reply, r.Relay)
		}
		s.conversation(carrier, r)
	}
	s.bounceOf(carrier, m)
	s.onlyOnce(carrier, id)

	s.point("defers.example", s.ip)
	m = s.message(origin, id, "one=delivered", "two=bounced", "three=delivered")
	if m.Fate() != fleet.FatePartly || m.Recipients[2].Carried.Attempts < 2 {
		t.Errorf("fate %s after %d attempts", m.Fate(), m.Recipients[2].Carried.Attempts)
	}
	s.until(func(context.Context) error { // and nobody asks any more
		if m := s.message(origin, id, "one=delivered", "two=bounced", "three=delivered"); m.AwaitsCarrier() {
			return fmt.Errorf("%s still waits for n2's last word", id)
		}
		return nil
	})
	s.figures(origin, carrier)
}

// conversation finds the carrier's transcript by what the origin has.
func (s *site) conversation(carrier *nodeapi.Client, r *fleet.Recipient) {
	s.t.Helper()
	list, err := carrier.Transcripts(s.ctx, r.Carried.ID)
	s.must(err)
	for i := range list {
		if list[i].Key == r.Carried.Transcript {
			return
		}
	}
	s.t.Errorf("%s: n2 has no transcript %q of %s", r.Address, r.Carried.Transcript, r.Carried.ID)
}

// bounceOf follows the link to the notice that the carrier sent, and back.
func (s *site) bounceOf(carrier *nodeapi.Client, m *fleet.Message) {
	s.t.Helper()
	var notice fleet.Link
	for _, link := range m.Links {
		if link.Kind == fleet.LinkBounce && link.Node == "n2" {
			notice = link
		}
	}
	bounce, err := carrier.Message(s.ctx, notice.ID)
	if err != nil {
		s.t.Fatalf("links %+v: %v", m.Links, err)
	}
	if bounce.Sender != "" || bounce.QueueID != notice.QueueID || bounce.Recipients[0].Address != m.Sender {
		s.t.Errorf("the notice: %+v", bounce)
	}
	for _, link := range bounce.Links {
		if link.Kind != fleet.LinkNoticeOf {
			continue
		}
		hop, err := carrier.Message(s.ctx, link.ID)
		s.must(err)
		if want := (fleet.Hop{Origin: "n1", QueueID: m.QueueID}); hop.Hop == nil || *hop.Hop != want {
			s.t.Errorf("the notice leads to a hop of %+v, want %+v", hop.Hop, want)
		}
		return
	}
	s.t.Errorf("the notice leads nowhere: %+v", bounce.Links)
}

// onlyOnce: the carrier's list doesn't have the hop unless it is asked for it.
func (s *site) onlyOnce(carrier *nodeapi.Client, id string) {
	s.t.Helper()
	for hops, want := range map[string]int{"": 0, fleet.HopsYes: 1, fleet.HopsOnly: 1} {
		page, err := carrier.Messages(s.ctx, fleet.Query{MessageID: id, Hops: hops})
		s.must(err)
		if len(page.Messages) != want {
			s.t.Errorf("hops=%q: %d messages, want %d", hops, len(page.Messages), want)
		}
	}
}

// figures: a mail counts once, on its origin.
func (s *site) figures(origin, carrier *nodeapi.Client) {
	s.t.Helper()
	q := fleet.StatsQuery{Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Minute), Steps: 1}
	there, err := origin.Stats(s.ctx, q)
	s.must(err)
	if there.Total.Messages != 1 || there.Total.Delivered != 2 || there.Total.Bounced != 1 || there.Clear != 2 {
		s.t.Errorf("on the origin: %+v, %d in clear", there.Total, there.Clear)
	}
	here, err := carrier.Stats(s.ctx, q)
	s.must(err)
	if here.Total.Messages != 1 { // the notice, which the carrier made itself
		s.t.Errorf("on the carrier: %+v", here.Total)
	}
}

// TestGivenUp: the carrier's queue gives mail up after a time, and the sender hears of it from there.
func TestGivenUp(t *testing.T) {
	// A queue run that meets the delivery before it still at work leaves a message alone for long (qmgr_message.c, "still being
	// delivered"), so it is not to come sooner than it has to.
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]", retry: 4 * time.Second,
		main: map[string]string{"maximal_queue_lifetime": "5s", "bounce_queue_lifetime": "5s"}})
	s.remote("defers.example", lab.SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted"})
	s.ready(0, 1)
	id := s.send(0, mail("a@shop.example", "one@defers.example"))
	m := s.message(s.api(0), id, "one=expired")
	if m.Fate() != fleet.FateBounced || m.Recipients[0].Carrier() != "n2" {
		t.Errorf("fate %s by %q", m.Fate(), m.Recipients[0].Carrier())
	}
}

// TestCarrierTellsLater: what a carrier couldn't tell while the origin was away, or was away itself, it tells afterwards.
func TestCarrierTellsLater(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.remote("defers.example", lab.SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted"})
	s.ready(0, 1)
	origin := s.api(0)
	id := s.send(0, mail("a@shop.example", "one@defers.example"))
	s.message(origin, id, "one=deferred")
	s.must(s.nodes[0].Kill()) // both daemons die, not their Postfix
	s.must(s.nodes[1].Kill())
	s.point("defers.example", s.ip)
	s.arrived(id)
	s.must(s.nodes[0].Start(s.ctx))
	s.message(origin, id, "one=deferred")
	s.must(s.nodes[1].Start(s.ctx))
	s.message(origin, id, "one=delivered")
}

// TestRequeuedOnTheCarrier: a hop that the carrier's administrator puts back into the queue is another message there, which
// the origin follows, and is signed once.
func TestRequeuedOnTheCarrier(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.remote("defers.example", lab.SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted"})
	s.ready(0, 1)
	origin := s.api(0)
	id := s.send(0, mail("a@shop.example", "one@defers.example"))
	first := s.message(origin, id, "one=deferred").Recipients[0].Carried.ID
	_, err := s.lab.Run(s.ctx, "postsuper", "-c", s.nodes[1].Postfix.Conf, "-r", "ALL")
	s.must(err)
	s.point("defers.example", s.ip)
	m := s.message(origin, id, "one=delivered")
	if c := m.Recipients[0].Carried; c.ID == first || c.Node != "n2" {
		t.Errorf("carried as %s of %s, which was requeued", c.ID, c.Node)
	}
	if got := s.signers(s.records(), s.content(id)); fmt.Sprint(got) != "[n2]" {
		t.Errorf("signed by %v", got)
	}
}

// TestLocalMail: Postfix tells the carrier no queue id of mail from sendmail(1).
func TestLocalMail(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.ready(0, 1)
	m := mail("a@shop.example", "one@remote.example")
	m.ID = lab.NewID()
	s.must(s.nodes[0].Postfix.Sendmail(s.ctx, m))
	s.message(s.api(0), m.ID, "one=delivered")
	if way := s.arrived(m.ID); way != "n1>n2" {
		t.Errorf("went %s", way)
	}
}

// TestFateInFailover: the node that took the mail names itself.
func TestFateInFailover(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: failover"})
	s.ready(0, 1)
	unreachable, err := lab.FreeHost()
	s.must(err)
	s.must(s.nodes[0].Postfix.Name("remote.example", unreachable))
	id := s.send(0, mail("a@shop.example", "one@remote.example"))
	m := s.message(s.api(0), id, "one=delivered")
	r := &m.Recipients[0]
	if r.Attempts[0].Hop != fleet.AnyCarrier || r.Carrier() != "n2" || s.arrived(id) != "n1>n2" {
		t.Errorf("handed to %q, carried by %q, went %s", r.Attempts[0].Hop, r.Carrier(), s.arrived(id))
	}
}
