package dnsask

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers on UDP and TCP until the test ends. It gives HOST:PORT.
func serve(t *testing.T, answer dns.HandlerFunc) string {
	t.Helper()
	packets, listener := listen(t)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: answer}, {Listener: listener, Handler: answer}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.ActivateAndServe() })
		<-started // Shutdown is nothing before that
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
			serving.Wait()
		})
	}
	return packets.LocalAddr().String()
}

// listen finds a port that is free for both.
func listen(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var failed error
	for range 50 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener
		}
		failed = errors.Join(err, packets.Close())
	}
	t.Fatal(failed)
	return nil, nil
}

func records(t *testing.T, lines ...string) (list []dns.RR) {
	t.Helper()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rr)
	}
	return list
}

const (
	alias = "a.test. 60 IN CNAME b.test."
	loop  = "b.test. 60 IN CNAME a.test."
	text  = `b.test. 60 IN TXT "x" "y\"\\\200"`
	soa   = "test. 60 IN SOA ns.test. h.test. 1 1 1 1 1"
)

// What a reply lacks tells nothing unless it says so itself.
func TestReplies(t *testing.T) {
	type reply struct {
		answer, authority []string
		rcode             int
	}
	for _, c := range []struct {
		name    string
		replies map[string]reply // by the name that is asked for
		proof   bool
		want    string // what the answer, or the error, says
	}{
		{"a record", map[string]reply{"b.test.": {answer: []string{text}}}, true, `b.test TXT: "xy\"\\\xc8"`},
		{"along an alias", map[string]reply{"b.test.": {}, "a.test.": {answer: []string{alias, text}}}, true, `a.test TXT: alias of b.test: "xy\"\\\xc8"`},
		{"an alias whose end comes when asked for", map[string]reply{"a.test.": {answer: []string{alias}}, "b.test.": {answer: []string{text}}}, true,
			`a.test TXT: alias of b.test: "xy\"\\\xc8"`},
		{"an alias of nothing", map[string]reply{"a.test.": {answer: []string{alias}, authority: []string{soa}}}, true, "a.test TXT: no such record"},
		{"an alias of a name that isn't there", map[string]reply{"a.test.": {answer: []string{alias}}, "b.test.": {authority: []string{soa}, rcode: dns.RcodeNameError}}, true,
			"a.test TXT: no such name"},
		{"an alias and the proof of another zone", map[string]reply{"a.test.": {answer: []string{alias}, authority: []string{strings.Replace(soa, "test.", "elsewhere.", 1)}},
			"b.test.": {rcode: dns.RcodeServerFailure}}, false, "the server failed (SERVER: SERVFAIL)"},
		{"aliases in a circle", map[string]reply{"a.test.": {answer: []string{alias, loop}}, "b.test.": {answer: []string{alias, loop}}}, false, "more than 8 aliases"},
		{"aliases in a circle, one by one", map[string]reply{"a.test.": {answer: []string{alias}}, "b.test.": {answer: []string{loop}}}, false, "more than 8 aliases"},
		{"aliases in a circle of three", map[string]reply{"a.test.": {answer: []string{alias, "b.test. CNAME c.test.", "c.test. CNAME a.test."}}}, false, "more than 8 aliases"},
		{"an alias of itself, and a proof", map[string]reply{"a.test.": {answer: []string{"a.test. CNAME a.test."}, authority: []string{soa}}}, true, "more than 8 aliases"},
		{"nothing", map[string]reply{"b.test.": {authority: []string{soa}}}, true, "b.test TXT: no such record"},
		{"nothing, without proof", map[string]reply{"b.test.": {}}, true, "without the zone's SOA"},
		{"nothing, with the proof of another zone", map[string]reply{"b.test.": {authority: []string{"elsewhere. SOA a. b. 1 1 1 1 1"}}}, true, "without the zone's SOA"},
		{"nothing, without proof, of a server that is believed", map[string]reply{"b.test.": {}}, false, "b.test TXT: no such record"},
		{"no such name", map[string]reply{"b.test.": {authority: []string{soa}, rcode: dns.RcodeNameError}}, true, "b.test TXT: no such name"},
		{"no such name, without proof", map[string]reply{"b.test.": {rcode: dns.RcodeNameError}}, true, "without the zone's SOA"},
		{"no such name, with a record", map[string]reply{"b.test.": {answer: []string{text}, rcode: dns.RcodeNameError}}, false, "and that there is no such name"},
		{"another name", map[string]reply{"c.test.": {answer: []string{text}}}, false, "records of another name"},
		{"a referral", map[string]reply{"b.test.": {authority: []string{"test. 60 IN NS ns.test."}}}, false, "a referral"},
		{"refused", map[string]reply{"b.test.": {rcode: dns.RcodeRefused}}, false, "b.test TXT: refused (SERVER)"},
		{"failed", map[string]reply{"b.test.": {rcode: dns.RcodeServerFailure}}, false, "SERVFAIL"},
		{"not implemented", map[string]reply{"b.test.": {rcode: dns.RcodeNotImplemented}}, false, "NOTIMP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, func(w dns.ResponseWriter, ask *dns.Msg) {
				given := c.replies[ask.Question[0].Name]
				reply := new(dns.Msg).SetRcode(ask, given.rcode)
				reply.Answer, reply.Ns = records(t, given.answer...), records(t, given.authority...)
				_ = w.WriteMsg(reply)
			})
			name := "b.test"
			for _, first := range []string{"a.test", "c.test"} {
				if _, there := c.replies[first+"."]; there {
					name = first
				}
			}
			got := told((&Client{Proof: c.proof}).Ask(t.Context(), server, name, dns.TypeTXT))
			if got = strings.ReplaceAll(got, server, "SERVER"); !strings.Contains(got, c.want) {
				t.Errorf("%s, expected %s", got, c.want)
			}
		})
	}
}

// told is an answer or the error, each only as what it has to be.
func told(a *Answer, err error) string {
	var untold *Untold
	switch {
	case err == nil:
		return a.String()
	case a != nil || !errors.As(err, &untold):
		return "an answer beside an error, or another error: " + err.Error()
	}
	return err.Error()
}

// A server that is gone, silent, cuts its answer or answers somebody else gives no answer; an answer cut on UDP comes over TCP.
func TestExchange(t *testing.T) {
	quiet := 100 * time.Millisecond
	write := func(change func(w dns.ResponseWriter, reply *dns.Msg)) dns.HandlerFunc {
		return func(w dns.ResponseWriter, ask *dns.Msg) {
			reply := new(dns.Msg).SetReply(ask)
			reply.Answer = records(t, text)
			change(w, reply)
			_ = w.WriteMsg(reply)
		}
	}
	for _, c := range []struct {
		name   string
		answer dns.HandlerFunc
		want   string
	}{
		{"silent", func(dns.ResponseWriter, *dns.Msg) {}, "no answer in time (SERVER: 100ms)"},
		{"cut on UDP", write(func(w dns.ResponseWriter, reply *dns.Msg) {
			if w.LocalAddr().Network() == "udp" {
				reply.Answer, reply.Truncated = nil, true
			}
		}), `"xy\"\\\xc8"`},
		{"cut everywhere", write(func(_ dns.ResponseWriter, reply *dns.Msg) { reply.Truncated = true }), "it is cut short"},
		{"another id", write(func(_ dns.ResponseWriter, reply *dns.Msg) { reply.Id++ }), "no answer in time"},
		{"another question", write(func(_ dns.ResponseWriter, reply *dns.Msg) { reply.Question[0].Name = "c.test." }), "to another question"},
		{"another type", write(func(_ dns.ResponseWriter, reply *dns.Msg) { reply.Question[0].Qtype = dns.TypeA }), "to another question"},
		{"a question", write(func(_ dns.ResponseWriter, reply *dns.Msg) { reply.Response = false }), "to another question"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, c.answer)
			got := told((&Client{Timeout: quiet}).Ask(t.Context(), server, "B.test", dns.TypeTXT))
			if got = strings.ReplaceAll(got, server, "SERVER"); !strings.Contains(got, c.want) {
				t.Errorf("%s, expected %s", got, c.want)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		if got := told(new(Client).Ask(t.Context(), "127.0.0.1:9", "b.test", dns.TypeTXT)); !strings.Contains(got, "b.test TXT: not reachable (127.0.0.1:9: ") {
			t.Error(got)
		}
	})
	t.Run("called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := told(new(Client).Ask(ctx, "127.0.0.1:9", "b.test", dns.TypeTXT)); !strings.Contains(got, "b.test TXT: ") {
			t.Error(got)
		}
	})
	t.Run("no name", func(t *testing.T) {
		if got := told(new(Client).Ask(t.Context(), "127.0.0.1:9", "a..test", dns.TypeTXT)); got != "a..test TXT: no such name" {
			t.Error(got)
		}
	})
}

// A datagram that was lost is sent again where that is asked for.
func TestTries(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	server := serve(t, func(w dns.ResponseWriter, ask *dns.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked%2 == 0 {
			reply := new(dns.Msg).SetReply(ask)
			reply.Answer = records(t, text)
			_ = w.WriteMsg(reply)
		}
	})
	if _, err := (&Client{Timeout: time.Second, Tries: 2}).Ask(t.Context(), server, "b.test", dns.TypeTXT); err != nil {
		t.Error(err)
	}
}

func TestValues(t *testing.T) {
	a := Answer{Name: "a.test", Type: dns.TypeMX, Records: records(t, "a.test. MX 20 Z.test.", "a.test. MX 10 y.test.")}
	if diff := cmp.Diff([]string{"y.test", "z.test"}, a.Names()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"20 Z.test", "10 y.test"}, a.Texts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	a = Answer{Name: "a.test", Type: dns.TypeA, Records: records(t, "a.test. A 192.0.2.1")}
	if addrs := a.Addrs(); len(addrs) != 1 || !addrs[0].Is4() {
		t.Errorf("%v", addrs)
	}
	if got := a.String(); got != "a.test A: 192.0.2.1" {
		t.Error(got)
	}
}
