package cache

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// What a list costs while its node is away: the first page, and a filter that nothing fits, which looks at everything.
func BenchmarkMessages(b *testing.B) {
	c, err := Open(Options{Dir: b.TempDir(), Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	now := time.Now()
	for i := range 20000 {
		at := now.Add(-time.Duration(i) * time.Second)
		c.add(b.Context(), lot{node: "a", at: now, messages: []fleet.Message{{ID: fleet.MessageIDAt(at), Node: "a", QueueID: fmt.Sprint(i), FirstSeen: at, LastChange: at,
			Sender: "sender@example.com", Subject: "A subject of usual length", MessageID: "20261123120000.4711@example.com", Client: fleet.Client{Addr: "192.0.2.1", HELO: "client.example.com"},
			Signatures: []fleet.Signature{{Domain: "example.com", Selector: "mx1", Algorithm: "rsa-sha256"}},
			Recipients: []fleet.Recipient{{Address: "recipient@example.net", Status: fleet.StatusDelivered, Relay: "mx.example.net[192.0.2.2]:25", Reply: "250 2.0.0 Ok: queued as 4711",
				Attempts: []fleet.Attempt{{Status: "sent", Daemon: "smtp", Relay: "mx.example.net[192.0.2.2]:25", RelayHost: "mx.example.net", RelayAddr: "192.0.2.2", RelayPort: 25,
					Delay: 1.2, Delays: []float64{0.1, 0.1, 0.5, 0.5}, TLS: "Trusted TLSv1.3", Reply: "250 2.0.0 Ok: queued as 4711"}}}}}}})
	}
	c.Settle(b.Context())
	for name, q := range map[string]fleet.Query{"first page": {}, "nothing fits": {QueueID: "none"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Messages(b.Context(), "a", q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
