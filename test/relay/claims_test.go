package relay

import (
	"bufio"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/test/lab"
)

// TestRemoteClaimsAQueueID: a server of the outside world answers with the queue id of another mail's hop, to a mail with the
// same Message-ID. That mail shows as delivered there, and the hop's fate stays that of the mail that was handed over.
func TestRemoteClaimsAQueueID(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]\nrules: [{domain: direct.example, mode: off}]"})
	s.remote("defers.example", lab.SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted"})
	s.ready(0, 1)
	origin := s.api(0)
	carried := s.send(0, mail("a@shop.example", "one@defers.example"))
	hop := s.message(origin, carried, "one=deferred").Recipients[0].Carried

	ip, err := lab.FreeHost()
	s.must(err)
	claims(t, net.JoinHostPort(ip, "25"), "250 2.0.0 Ok: queued as "+hop.QueueID)
	s.point("claims.example", ip)
	outcomes, err := lab.Client{}.Send(s.ctx, s.nodes[0].Postfix.Addr, lab.Mail{ID: carried, From: "a@direct.example", HeaderFrom: "<a@shop.example>",
		To: []string{"two@claims.example"}, Text: "x"})
	s.must(err)
	s.must(outcomes[0].Err)
	var claimed *fleet.Message
	s.until(func(ctx) error {
		page, err := origin.Messages(s.ctx, fleet.Query{Sender: "a@direct.example"})
		if err != nil {
			return err
		}
		if len(page.Messages) != 1 || page.Messages[0].Fate() != fleet.FateDelivered {
			return fmt.Errorf("%d messages", len(page.Messages))
		}
		claimed = &page.Messages[0]
		return nil
	})
	r := &claimed.Recipients[0]
	if r.Attempts[0].RemoteID != hop.QueueID {
		t.Fatalf("the claim is not in the log: %+v", r.Attempts)
	}
	if r.Carrier() != "" || r.Carried != nil || claimed.AwaitsCarrier() {
		t.Errorf("taken for a hop: carrier %q, %+v", r.Carrier(), r.Carried)
	}
	s.point("defers.example", s.ip)
	s.fate(origin, "a@shop.example", fleet.FateDelivered)
}

// fate waits until a sender's one message has a fate.
func (s *site) fate(from *nodeapi.Client, sender string, want fleet.Fate) {
	s.t.Helper()
	s.until(func(c ctx) error {
		page, err := from.Messages(c, fleet.Query{Sender: sender})
		if err != nil {
			return err
		}
		if len(page.Messages) != 1 || page.Messages[0].Fate() != want {
			return fmt.Errorf("%s: %d messages", sender, len(page.Messages))
		}
		return nil
	})
}

// claims is a mail server that answers every message with the same words.
func claims(t *testing.T, address, answer string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				fmt.Fprint(conn, "220 claims.example ESMTP\r\n")
				content := false
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					switch line := lines.Text(); {
					case content && line == ".":
						content = false
						fmt.Fprintf(conn, "%s\r\n", answer)
					case content:
					case line == "DATA":
						content = true
						fmt.Fprint(conn, "354 go on\r\n")
					case line == "QUIT":
						fmt.Fprint(conn, "221 bye\r\n")
						return
					default:
						fmt.Fprint(conn, "250 ok\r\n")
					}
				}
			})
		}
	})
}

// TestMarksFromOutside: a client that speaks XFORWARD, and puts into the header what it likes, stays a client.
func TestMarksFromOutside(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.ready(0, 1)
	origin, carrier := s.api(0), s.api(1)
	carried := s.send(0, mail("a@shop.example", "one@remote.example"))
	m := s.message(origin, carried, "one=delivered")

	conn, err := net.Dial("tcp", s.nodes[1].Postfix.Addr)
	s.must(err)
	defer conn.Close()
	s.must(conn.SetDeadline(time.Now().Add(30 * time.Second)))
	text := textproto.NewConn(conn)
	_, _, err = text.ReadResponse(220)
	s.must(err)
	say := func(expect int, format string, args ...any) string {
		t.Helper()
		s.must(text.PrintfLine(format, args...))
		code, reply, err := text.ReadResponse(expect)
		if err != nil {
			t.Fatalf("%s: %d %s", fmt.Sprintf(format, args...), code, reply)
		}
		return reply
	}
	if offered := say(250, "EHLO n1.fleet.example"); strings.Contains(offered, "XFORWARD") {
		t.Errorf("offered to a client: %s", offered)
	}
	say(550, "XFORWARD NAME=n1 ADDR=127.0.0.1 IDENT=%s", m.QueueID)
	say(250, "MAIL FROM:<b@shop.example>")
	say(250, "RCPT TO:<two@remote.example>")
	say(354, "DATA")
	say(250, "Received: from n1.fleet.example (localhost [127.0.0.1]) by n2.fleet.example (Postfix) with ESMTP id %s\r\nX-Postfleet-Hop: n1\r\n"+
		"From: <b@shop.example>\r\nMessage-ID: <%s>\r\n\r\nx\r\n.", m.QueueID, carried)
	s.fate(carrier, "b@shop.example", fleet.FateDelivered)
	page, err := carrier.Messages(s.ctx, fleet.Query{Sender: "b@shop.example", Hops: fleet.HopsOnly})
	s.must(err)
	if len(page.Messages) != 0 {
		t.Errorf("taken for a hop: %+v", page.Messages[0])
	}
	if again := s.message(origin, carried, "one=delivered"); *again.Recipients[0].Carried != *m.Recipients[0].Carried {
		t.Errorf("the origin's mail changed: %+v, %+v", again.Recipients[0].Carried, m.Recipients[0].Carried)
	}
}

// TestNodesAskForTheirOwnMail: a node of the fleet learns nothing of another's, and nothing else of anybody's.
func TestNodesAskForTheirOwnMail(t *testing.T) {
	s := newSite(t, options{settings: "mode: balance\ncarry: [n2]"})
	s.ready(0, 1)
	m := s.message(s.api(0), s.send(0, mail("a@shop.example", "one@remote.example")), "one=delivered")
	r := &m.Recipients[0]
	asked := []fleet.Handover{{QueueID: r.Carried.QueueID, OrigQueueID: m.QueueID, MessageID: m.MessageID, Time: r.Attempts[0].Time, ID: r.Carried.ID,
		Recipients: []string{r.Address}}}
	for i, want := range []int{1, 0, 0} {
		client := s.asNode(1, i)
		answer, err := client.Carried(s.ctx, asked)
		s.must(err)
		if len(answer[0]) != want {
			t.Errorf("%s gets %d reports, want %d", name(i), len(answer[0]), want)
		}
		if _, err := client.Message(s.ctx, r.Carried.ID); fleet.CodeOf(err) != fleet.CodeForbidden {
			t.Errorf("%s asks for the message: %v", name(i), err)
		}
	}
	if _, err := s.api(1).Carried(s.ctx, asked); fleet.CodeOf(err) != fleet.CodeForbidden {
		t.Errorf("an aggregator asks: %v", err)
	}
}
