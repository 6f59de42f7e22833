package aggregator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
)

// memory is a node's store with many messages, newest first, which differ in their id and time.
type memory struct {
	nodeapi.Store
	newest, step fleet.MessageID
	count        int
	message      fleet.Message
}

func (m *memory) Messages(_ context.Context, q fleet.Query) (*fleet.Page, error) {
	page := &fleet.Page{}
	first := 0
	if q.Before > 0 && q.Before <= m.newest {
		first = int((m.newest-q.Before)/m.step) + 1
	}
	for i := first; i < m.count && len(page.Messages) < q.Limit; i++ {
		one := m.message
		one.ID = m.newest - fleet.MessageID(i)*m.step
		one.FirstSeen = one.ID.Time()
		page.Messages = append(page.Messages, one)
		if i < m.count-1 {
			page.Next = one.ID
		} else {
			page.Next = 0
		}
	}
	return page, nil
}

// threeNodes serves three nodes of 100,000 messages each over TLS, and gives a client for each.
func threeNodes(t testing.TB) (staticMembers, map[string]*nodeapi.Client) {
	t.Helper()
	var members staticMembers
	clients := map[string]*nodeapi.Client{}
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i, name := range []string{"a", "b", "c"} {
		store := &memory{newest: fleet.MessageIDAt(start) + fleet.MessageID(i), step: 3_000_000, count: 100_000, message: ordinary(name, start)}
		server := httptest.NewTLSServer(nodeapi.NewHandler(nodeapi.Options{Node: name, Store: store, Log: zap.NewNop()}))
		t.Cleanup(server.Close)
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		client, err := nodeapi.NewClient(nodeapi.ClientOptions{Node: name, Base: server.URL, TLS: &tls.Config{RootCAs: roots}})
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, fleet.Member{Name: name, API: server.URL, Healthy: true})
		clients[name] = client
	}
	return members, clients
}

// ordinary is a message as most are.
func ordinary(node string, at time.Time) fleet.Message {
	return fleet.Message{QueueID: "4bXyZ13abcz", Sender: "someone@example.org", Subject: "An ordinary subject of ordinary length",
		MessageID: "20261123.1@example.org", Size: 4096, Verdict: fleet.VerdictAccepted,
		Client:     fleet.Client{Addr: "192.0.2.7", Name: "client.example.org", AuthUser: "someone"},
		Signatures: []fleet.Signature{{Domain: "example.org", Selector: node, Algorithm: "rsa-sha256"}},
		Recipients: []fleet.Recipient{{Address: "somebody@example.com", Status: fleet.StatusDelivered, DSN: "2.0.0", Attempts: []fleet.Attempt{
			{ID: 7, Time: at, Status: "sent", DSN: "2.0.0", Daemon: "smtp", Relay: "mx.example.com[192.0.2.9]:25", RelayHost: "mx.example.com",
				Delay: 0.5, Delays: []float64{.1, 0, .2, .2}, Reply: "250 2.0.0 Ok: queued as 4bXyZ25Q2dz2x"}}}}}
}

type staticMembers []fleet.Member

func (m staticMembers) Members() []fleet.Member { return m }

// Pages over the node API fit together: every message comes after the one before.
func TestPagesOverTheNodeAPI(t *testing.T) {
	members, clients := threeNodes(t)
	fan := aggregator.NewFanout(aggregator.FanoutOptions{Members: members, Log: zap.NewNop(),
		Dial: func(m fleet.Member) aggregator.Node { return clients[m.Name] }})
	defer fan.Close()
	seen, cursor := 0, ""
	last := fleet.MessageID(1 << 60)
	for seen < 10_000 {
		list, err := fan.Messages(t.Context(), fleet.Query{Limit: 1000}, cursor)
		if err != nil || len(list.Failed()) > 0 {
			t.Fatalf("%v %v", err, list)
		}
		for i := range list.Messages {
			if list.Messages[i].ID >= last {
				t.Fatalf("%s/%d after %d", list.Messages[i].Node, list.Messages[i].ID, last)
			}
			last = list.Messages[i].ID
		}
		seen, cursor = seen+len(list.Messages), list.Next
	}
}

// The first page over three nodes against one node's own page of as many messages, asked in turns. Wanted: at most 2.
func BenchmarkFirstPage(b *testing.B) {
	members, clients := threeNodes(b)
	fan := aggregator.NewFanout(aggregator.FanoutOptions{Members: members, Log: zap.NewNop(),
		Dial: func(m fleet.Member) aggregator.Node { return clients[m.Name] }})
	defer fan.Close()
	q := fleet.Query{Limit: fleet.DefaultLimit}
	var one, merged []time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := clients["a"].Messages(b.Context(), q); err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		if _, err := fan.Messages(b.Context(), q, ""); err != nil {
			b.Fatal(err)
		}
		one, merged = append(one, between.Sub(began)), append(merged, time.Since(between))
	}
	slices.Sort(one)
	slices.Sort(merged)
	b.ReportMetric(float64(one[len(one)/2].Microseconds()), "µs/one-node")
	b.ReportMetric(float64(merged[len(merged)/2].Microseconds()), "µs/three-nodes")
	b.ReportMetric(float64(merged[len(merged)/2])/float64(one[len(one)/2]), "ratio")
}
