package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/milter"
)

// handOver records on a node that it handed a mail over to another.
func handOver(t *testing.T, n *Node, to string) *fleet.Message {
	t.Helper()
	at := time.Now().Truncate(time.Second)
	event := func(id fleet.EventID, body fleet.Body) *fleet.Event {
		return &fleet.Event{ID: id, Time: at, QueueID: "4FORIGIN", Body: body}
	}
	err := n.store.Append(t.Context(), event(1, &fleet.Cleaned{MessageID: "1@example.com"}), event(2, &fleet.Activated{Sender: "a@example.com", Recipients: 1}),
		event(3, &fleet.Attempted{Recipient: "b@example.net", Attempt: fleet.Attempt{ID: 3, Time: at, Status: "sent", Daemon: "smtp", Hop: to, RemoteID: "4FHOP"}}))
	if err != nil {
		t.Fatal(err)
	}
	page, err := n.store.Messages(t.Context(), fleet.Query{QueueID: "4FORIGIN"})
	if err != nil || len(page.Messages) != 1 {
		t.Fatalf("%v, %d messages", err, len(page.Messages))
	}
	return &page.Messages[0]
}

// take records on a node that it took that mail, and delivered it.
func take(t *testing.T, n *Node, origin string) {
	t.Helper()
	at := time.Now().Truncate(time.Second)
	event := func(id fleet.EventID, body fleet.Body) *fleet.Event {
		return &fleet.Event{ID: id, Time: at, QueueID: "4FHOP", Body: body}
	}
	recorded := event(4, &fleet.Recorded{Source: fleet.SourceHop, Hop: &fleet.Hop{Origin: origin}, Sender: "a@example.com", MessageID: "1@example.com", Verdict: fleet.VerdictAccepted})
	recorded.Since = at
	err := n.store.Append(t.Context(), recorded, event(5, &fleet.Arrived{Hop: &fleet.Hop{QueueID: "4FORIGIN"}}),
		event(6, &fleet.Attempted{Recipient: "b@example.net", Attempt: fleet.Attempt{ID: 6, Time: at, Status: "sent", Daemon: "smtp", RelayHost: "mx.example.net", RelayAddr: "192.0.2.9"}}),
		event(7, &fleet.Left{By: fleet.LeftDone}))
	if err != nil {
		t.Fatal(err)
	}
}

// TestCarriedBetweenNodes: a node learns from another what became of its mail, with the certificates of both.
func TestCarriedBetweenNodes(t *testing.T) {
	s, other := newSite(t), newSite(t)
	if _, err := s.ca.Issue(pki.Request{Identity: pki.Identity{Role: pki.Node, Name: "n2"}, Valid: time.Hour}, time.Now(), ""); err != nil {
		t.Fatal(err)
	}
	carrier := start(t, other.config(t, greet(t), "name: n1", "name: n2", "certificates: files", "certificates: files\n  address: 192.0.2.2:8525",
		other.path("pki"), s.path("pki")))
	take(t, carrier, "n1")
	api, _ := carrier.Addresses()
	n := start(t, s.config(t, greet(t), "api:\n", fmt.Sprintf("relay: {members: [{name: n1, hop: \"192.0.2.1:8529\"}, {name: n2, hop: \"192.0.2.2:8529\", api: %q}]}\napi:\n", api)))
	m := handOver(t, n, "n2")
	eventually(t, func() error {
		now, err := n.store.Message(context.Background(), m.ID)
		if err != nil {
			return err
		}
		if r := &now.Recipients[0]; r.Status != fleet.StatusDelivered || r.Carrier() != "n2" || r.Carried.RelayHost != "mx.example.net" {
			return fmt.Errorf("%s by %q", r.Status, r.Carrier())
		}
		return nil
	})
	eventually(t, func() error {
		if check := n.carriersCheck(); !check.OK || check.Text != "no message is in transit" {
			return fmt.Errorf("%+v", check)
		}
		return nil
	})
}

// TestSilentCarrier: a carrier that doesn't answer is named.
func TestSilentCarrier(t *testing.T) {
	s := newSite(t)
	n := start(t, s.config(t, greet(t), "api:\n", "relay: {members: [{name: n2, hop: \"127.0.0.1:1\", api: \"127.0.0.1:1\"}]}\napi:\n"))
	handOver(t, n, "n2")
	eventually(t, func() error {
		check := n.carriersCheck()
		if check.OK || !strings.HasPrefix(check.Text, "1 message is in transit; n2: node n2 refused the connection") {
			return errors.New(check.Text)
		}
		return nil
	})
}

func TestHopSigning(t *testing.T) {
	s := newSite(t)
	postfix := greet(t)
	n := start(t, s.config(t, postfix, "api:\n", `relay:
  mode: balance
  rules: [{domain: off.example, mode: off}, {domain: failover.example, mode: failover}]
api:
`))
	check := func(step string, want map[string]milter.HopSigning) {
		t.Helper()
		for sender, how := range want {
			if got := n.hopSigning(sender); got != how {
				t.Errorf("%s: %q: %d, want %d", step, sender, got, how)
			}
		}
	}
	check("as set", map[string]milter.HopSigning{"": milter.HopReplace, "a@example.com": milter.HopReplace, "a@off.example": milter.HopLeave,
		"a@failover.example": milter.HopLeave})
	if err := n.Reload(s.config(t, postfix, "api:\n", `relay:
  mode: failover
  carrier_signs: true
  rules: [{domain: balance.example, mode: balance}]
api:
`)); err != nil {
		t.Fatal(err)
	}
	check("reloaded", map[string]milter.HopSigning{"a@example.com": milter.HopAdd, "a@balance.example": milter.HopReplace})
}
