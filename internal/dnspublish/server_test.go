package dnspublish

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// serve answers from lines of a zone file, authoritatively for everything, and counts the questions; names under "broken." get
// SERVFAIL.
func serve(t *testing.T, zone string) (*Resolver, *atomic.Int64) {
	t.Helper()
	var records []dns.RR
	parser := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	parser.SetDefaultTTL(60)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	soa, err := dns.NewRR(". 60 IN SOA ns. h. 1 1 1 1 1")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := new(atomic.Int64)
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		reply := new(dns.Msg)
		reply.SetReply(q)
		name, exists := q.Question[0].Name, false
		for _, rr := range records {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			exists = true
			if rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
				reply.Answer = append(reply.Answer, rr)
			}
		}
		switch {
		case strings.Contains(name, "broken."):
			reply.Rcode = dns.RcodeServerFailure
		case !exists:
			reply.Rcode = dns.RcodeNameError
			reply.Ns = []dns.RR{soa}
		case len(reply.Answer) == 0:
			reply.Ns = []dns.RR{soa}
		}
		_ = w.WriteMsg(reply)
	})}
	var serving sync.WaitGroup
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	serving.Go(func() { _ = server.ActivateAndServe() })
	<-started // Shutdown is nothing before that
	t.Cleanup(func() {
		_ = server.Shutdown()
		serving.Wait()
	})
	return &Resolver{Servers: []string{packets.LocalAddr().String()}}, asked
}
