package keys

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/test/lab"
)

// moods of a resolver that stands before BIND.
const (
	honest   = iota
	silent   // answers nothing
	slow     // answers when nobody waits any more
	lying    // says that nothing exists, without the zone's word for it
	failing  // SERVFAIL
	confused // answers another question
)

// resolver passes questions to BIND, once the test says where that is, in the mood that the test sets.
type resolver struct {
	addr string
	mood atomic.Int32
	bind atomic.Pointer[lab.Bind]
}

func startResolver(t *testing.T) *resolver {
	t.Helper()
	r := &resolver{}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = packets.LocalAddr().String()
	var serving sync.WaitGroup
	slowly := make(chan struct{})
	listening := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r.answer(w, q, slowly)
	})}
	started := make(chan struct{})
	listening.NotifyStartedFunc = func() { close(started) }
	serving.Go(func() { _ = listening.ActivateAndServe() })
	<-started // Shutdown is nothing before that
	t.Cleanup(func() {
		close(slowly)
		_ = listening.Shutdown()
		serving.Wait()
	})
	return r
}

func (r *resolver) answer(w dns.ResponseWriter, q *dns.Msg, ended <-chan struct{}) {
	reply := new(dns.Msg)
	switch r.mood.Load() {
	case silent:
		return
	case slow:
		select {
		case <-time.After(4 * time.Second):
		case <-ended:
			return
		}
	case lying:
		reply.SetRcode(q, dns.RcodeNameError)
		_ = w.WriteMsg(reply)
		return
	case failing:
		reply.SetRcode(q, dns.RcodeServerFailure)
		_ = w.WriteMsg(reply)
		return
	case confused:
		reply.SetReply(q)
		reply.Question[0].Name = "elsewhere.example."
		_ = w.WriteMsg(reply)
		return
	}
	bind := r.bind.Load()
	if bind == nil {
		return
	}
	q = q.Copy()
	id := q.Id
	answer, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(q, bind.Addr)
	if err != nil {
		return
	}
	answer.Id, answer.RecursionAvailable = id, true
	_ = w.WriteMsg(answer)
}
