package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
)

// zone is a name server with TXT records that the test sets.
type zone struct {
	addr string
	mu   sync.Mutex
	txt  map[string]string
	dead bool
}

func startZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{txt: map[string]string{}}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.addr = packets.LocalAddr().String()
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(z.answer)}
	var serving sync.WaitGroup
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	serving.Go(func() { _ = server.ActivateAndServe() })
	<-started // Shutdown is nothing before that
	t.Cleanup(func() {
		_ = server.Shutdown()
		serving.Wait()
	})
	return z
}

func (z *zone) answer(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	reply := new(dns.Msg)
	reply.SetReply(q)
	name := q.Question[0].Name
	text, there := z.txt[strings.TrimSuffix(name, ".")]
	switch {
	case z.dead:
		reply.Rcode = dns.RcodeServerFailure
	case there:
		reply.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}}}
	default:
		reply.Rcode = dns.RcodeNameError
		reply.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.", Mbox: "h."}}
	}
	_ = w.WriteMsg(reply)
}

// put publishes the records of all keys that a keeper has.
func (z *zone) put(k *keeper) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, key := range k.life.Keys().Keys {
		z.txt[key.Name] = key.Text
	}
}

func (z *zone) set(dead bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.dead = dead
}

// keptNode is a keeper on its own, with the clock and the keys in use at hand.
type keptNode struct {
	*keeper
	dir   string // of the keys' state
	now   time.Time
	signs []string
}

func newKeeper(t *testing.T, z *zone) *keptNode {
	t.Helper()
	n := &keptNode{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	c := config.DefaultMilter()
	c.Repository.Dir, c.DKIM.KeysDir = config.Path(t.TempDir()), config.Path(filepath.Join(t.TempDir(), "admin"))
	c.DKIM.Rotation.Every, c.DKIM.Rotation.Types = config.Duration(90*24*time.Hour), []string{dkim.Ed25519}
	c.DNS.Resolvers, c.DNS.Timeout = []config.HostPort{config.HostPort(z.addr)}, config.Duration(time.Second)
	if _, err := dkim.Generate(c.DKIM.KeysDir.String(), "example.com", "n1", dkim.Ed25519, 0); err != nil {
		t.Fatal(err)
	}
	template, err := dkim.ParseTemplate("{node}", "n1")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := dkim.LoadKeys(c.DKIM.KeysDir.String(), template)
	if err != nil {
		t.Fatal(err)
	}
	n.dir = KeysDir(&c)
	clock := func() time.Time { return n.now }
	lives, err := life.Open(KeyOptions(&c, "n1", clock), ring)
	if err != nil {
		t.Fatal(err)
	}
	how, err := newKeyHow(&c, clock)
	if err != nil {
		t.Fatal(err)
	}
	n.keeper = &keeper{life: lives, node: "n1", log: zap.NewNop(), now: clock, poke: make(chan struct{}, 1), looked: map[string]time.Time{},
		peers: life.Peers{Known: true}, metrics: newKeyMetrics(prometheus.NewRegistry(), lives),
		sign: func(ring *dkim.Keyring) {
			n.signs = nil
			for _, key := range ring.Keys() {
				n.signs = append(n.signs, key.Selector)
			}
		}}
	n.how.Store(how)
	return n
}

// The first look comes before mail; a rotation begins on schedule, waits for its record, and switches; the resolver's failure
// changes nothing.
func TestKeeper(t *testing.T) {
	z := startZone(t)
	n := newKeeper(t, z)
	n.first(t.Context())
	if len(n.signs) > 0 {
		t.Errorf("signs with %q before there is a record", n.signs)
	}
	z.put(n.keeper)
	n.wake()
	n.first(t.Context())
	expect := func(want ...string) {
		t.Helper()
		if !slices.Equal(n.signs, want) {
			t.Errorf("signs with %q, expected %q", n.signs, want)
		}
	}
	expect("n1-ed25519")
	n.round(t.Context())
	if keys := n.Keys(t.Context()); len(keys.Keys) != 1 || !keys.Next.Equal(n.now.Add(90*24*time.Hour)) || keys.Updates {
		t.Errorf("keys %+v", keys)
	}
	n.now = n.now.Add(90 * 24 * time.Hour)
	n.round(t.Context())
	if keys := n.Keys(t.Context()).Keys; len(keys) != 2 || keys[1].State != fleet.KeyGenerated {
		t.Fatalf("keys %+v", keys)
	}
	if by := n.Keys(t.Context()).History; !slices.ContainsFunc(by, func(e fleet.KeyEvent) bool { return e.By == "schedule" }) {
		t.Errorf("history %+v", by)
	}
	expect("n1-ed25519")
	z.put(n.keeper)
	z.set(true)
	n.now = n.now.Add(time.Minute)
	n.round(t.Context())
	expect("n1-ed25519")
	var check fleet.Check
	check.OK = true
	if n.alarm(&check); !check.OK {
		t.Errorf("an alarm because the resolver fails: %s", check.Text)
	}
	z.set(false)
	n.now = n.now.Add(time.Minute)
	n.round(t.Context())
	expect("n1-202702a-ed25519")
	z.mu.Lock()
	clear(z.txt)
	z.mu.Unlock()
	n.wake()
	n.round(t.Context())
	expect("n1-202702a-ed25519")
	if n.alarm(&check); check.OK || !strings.Contains(check.Text, "n1-202702a-ed25519._domainkey.example.com") {
		t.Errorf("no alarm: %+v", check)
	}
}

func TestKeyOrders(t *testing.T) {
	z := startZone(t)
	n := newKeeper(t, z)
	z.put(n.keeper)
	n.first(t.Context())
	for _, c := range []struct {
		name  string
		order fleet.KeyOrder
		code  fleet.Code
	}{
		{"rotate all", fleet.KeyOrder{Verb: fleet.KeyRotate, By: "anna"}, ""},
		{"rotate again", fleet.KeyOrder{Verb: fleet.KeyRotate, Domain: "example.com", By: "anna"}, fleet.CodeInvalid},
		{"an unknown verb", fleet.KeyOrder{Verb: "burn", By: "anna"}, fleet.CodeInvalid},
		{"activate", fleet.KeyOrder{Verb: fleet.KeyActivate, Domain: "example.com", Selector: "n1-202611a-ed25519", By: "anna"}, fleet.CodeInvalid},
		{"force", fleet.KeyOrder{Verb: fleet.KeyActivate, Domain: "example.com", Selector: "n1-202611a-ed25519", By: "anna", Force: true}, ""},
		{"check", fleet.KeyOrder{Verb: fleet.KeyCheck, By: "anna"}, ""},
		{"hear of a clash", fleet.KeyOrder{Verb: fleet.KeyPeers, Peers: []fleet.Claim{{Node: "n2", Domain: "example.com", Selector: "n1-202611a-ed25519", Fingerprint: "x"}}}, ""},
		{"retire the last", fleet.KeyOrder{Verb: fleet.KeyRetire, Domain: "example.com", Selector: "n1-202611a-ed25519", By: "anna"}, fleet.CodeInvalid},
	} {
		if _, err := n.Order(context.Background(), c.order); fleet.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if !slices.Equal(n.signs, []string{"n1-202611a-ed25519"}) {
		t.Errorf("signs with %q", n.signs)
	}
	n.round(t.Context())
	keys := n.Keys(t.Context()).Keys
	if !slices.ContainsFunc(keys, func(k fleet.Key) bool { return k.Signs && strings.Contains(k.Conflict, "n2") && k.Forced == "anna" }) {
		t.Errorf("keys %+v", keys)
	}
}

// Only a repository that was worked with counts as one from before.
func TestUsedBefore(t *testing.T) {
	dir := t.TempDir()
	if usedBefore(dir) || usedBefore(filepath.Join(dir, "none")) {
		t.Error("an empty directory counts")
	}
	for _, name := range []string{"consul-members.json", "drain.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if usedBefore(dir) {
		t.Error("somebody else's files count")
	}
	if err := os.WriteFile(filepath.Join(dir, "messages-20261123.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !usedBefore(dir) {
		t.Error("a repository doesn't count")
	}
}
