package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node/mta"
)

// Only a Postfix that asks this node, has the services and sends its mail out itself may hand over.
func TestRelayPostfix(t *testing.T) {
	whole := func(change func(*mta.Routing)) *mta.Routing {
		r := &mta.Routing{DefaultTransport: "smtp", SenderTransports: []string{"hash:/etc/postfix/own", "socketmap:unix:postfleet/map.sock:relay"},
			Services: []string{"postfleet-hop", "postfleet-failover", "postfleet-carry"}, Fallback: "[127.43.0.1]:10029"}
		change(r)
		return r
	}
	c := config.DefaultMilter()
	p := newRelayPostfix(&c, nil, time.Now)
	for _, tc := range []struct {
		name, want string
		routing    *mta.Routing
	}{
		{"whole", "", whole(func(*mta.Routing) {})},
		{"socket in full", "", whole(func(r *mta.Routing) {
			r.SenderTransports = []string{"socketmap:unix:/var/spool/postfix/postfleet/map.sock:relay"}
		})},
		{"not asked", "doesn't ask this node", whole(func(r *mta.Routing) { r.SenderTransports = nil })},
		{"somebody else's map", "doesn't ask this node", whole(func(r *mta.Routing) { r.SenderTransports = []string{"socketmap:unix:other.sock:relay"} })},
		{"relayhost", "relayhost of its own: [smart.example]", whole(func(r *mta.Routing) { r.Relayhost = "[smart.example]" })},
		{"default_transport to a host", "default_transport is smtp:[smart.example]", whole(func(r *mta.Routing) { r.DefaultTransport = "smtp:[smart.example]" })},
		{"default_transport of another kind", "default_transport is uucp", whole(func(r *mta.Routing) { r.DefaultTransport = "uucp" })},
		{"default_transport with a colon", "", whole(func(r *mta.Routing) { r.DefaultTransport = "smtp:" })},
		{"a service is missing", "lacks the service postfleet-carry", whole(func(r *mta.Routing) { r.Services = r.Services[:2] })},
		{"another fallback", `is "[127.43.0.1]:25", expected [127.43.0.1]:10029`, whole(func(r *mta.Routing) { r.Fallback = "[127.43.0.1]:25" })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := p.problem(tc.routing)
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// A node takes no mail of others while its Postfix would hand it on.
func TestRelayPostfixUnsafe(t *testing.T) {
	for name, test := range map[string]struct{ service, want string }{
		"as documented":      {"127.0.0.1:10026 inet n - n - - smtpd -o content_filter=postfleet-carry:\n", ""},
		"another name":       {"10026 inet n - n - - smtpd\n", ""},
		"no filter":          {"127.0.0.1:10026 inet n - n - - smtpd\n", `content_filter of its service 127.0.0.1:10026 is "", expected postfleet-carry:`},
		"another filter":     {"127.0.0.1:10026 inet n - n - - smtpd -o content_filter=amavis:[127.0.0.1]:10024\n", `is "amavis:[127.0.0.1]:10024", expected`},
		"without its colon":  {"127.0.0.1:10026 inet n - n - - smtpd -o content_filter=postfleet-carry\n", `is "postfleet-carry", expected postfleet-carry:`},
		"with a destination": {"127.0.0.1:10026 inet n - n - - smtpd -o content_filter=postfleet-carry:[mx1]\n", `is "postfleet-carry:[mx1]", expected`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, text := range map[string]string{"main.cf": "compatibility_level = 3.6\n", "master.cf": test.service} {
				path := filepath.Join(dir, file)
				if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, time.Time{}, time.Now().Add(-time.Minute))); err != nil {
					t.Fatal(err)
				}
			}
			c := config.DefaultMilter()
			p := newRelayPostfix(&c, mta.New(mta.Options{ConfigDir: dir, QueueDir: dir}), time.Now)
			p.look()
			got := p.facts()
			if (got.Unsafe == "") != (test.want == "") || !strings.Contains(got.Unsafe, test.want) || strings.Contains(got.Problem, "can't be read") {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
}

// A postconf that fails leaves what was known; before anything is known nothing is handed over.
func TestRelayPostfixCantBeRead(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "postconf")
	answer := func(text string) {
		t.Helper()
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	answer("exit 1\n")
	c := config.DefaultMilter()
	p := newRelayPostfix(&c, mta.New(mta.Options{ConfigDir: dir, Postconf: script}), time.Now)
	p.look()
	if problem := p.facts().Problem; !strings.HasPrefix(problem, "Postfix's configuration can't be read: postconf: ") {
		t.Errorf("problem %q", problem)
	}
	answer(`case "$*" in
*-P*) echo 'postfleet-failover/unix/smtp_fallback_relay = [127.43.0.1]:10029' ;;
*-M*) printf '%s unix - - n - - smtp\n' postfleet-hop postfleet-failover postfleet-carry ;;
*) echo 'default_transport = smtp'; echo 'inet_protocols = all'; echo 'relayhost ='
   echo 'sender_dependent_default_transport_maps = inline:{a=b, c=d}, socketmap:unix:postfleet/map.sock:relay' ;;
esac
`)
	p.look()
	if got := p.facts(); got.Problem != "" || !got.Wired || !got.IPv6 {
		t.Errorf("facts %+v", got)
	}
	if _, transports := p.tables(); len(transports) != 1 || transports[0] != "inline:{a=b, c=d}" {
		t.Errorf("tables %q", transports)
	}
	answer("exit 1\n")
	p.look()
	if got := p.facts(); got.Problem != "" || !got.Wired {
		t.Errorf("facts after a failure: %+v", got)
	}
}

// tables are Postfix's, in memory.
type tables map[string]map[string]string

func (t tables) lookup(_ context.Context, names, keys []string) (string, bool, error) {
	for _, key := range keys {
		for _, name := range names {
			if name == "broken" {
				return "", false, errors.New("open database: no such file")
			}
			if value, found := t[name][key]; found {
				return value, true, nil
			}
		}
	}
	return "", false, nil
}

func TestSmartHosts(t *testing.T) {
	postfix := tables{
		"hosts": {"smart@a.example": "[h]:25", "@b.example": "[h]:25", "not@b.example": "DUNNO", "empty@b.example": "", "<>": "[h]:25"},
		"ways":  {"own@a.example": "smtp:[h]", "@c.example": "DUNNO"},
	}
	for _, c := range []struct {
		name, sender      string
		hosts, transports []string
		want              bool
	}{
		{name: "no tables", sender: "smart@a.example"},
		{name: "address", sender: "smart@a.example", hosts: []string{"hosts"}, want: true},
		{name: "another", sender: "x@a.example", hosts: []string{"hosts"}},
		{name: "extension", sender: "smart+list@a.example", hosts: []string{"hosts"}, want: true},
		{name: "domain", sender: "x@b.example", hosts: []string{"hosts"}, want: true},
		{name: "exception", sender: "not@b.example", hosts: []string{"hosts"}},
		{name: "null sender", sender: `"<>"`, hosts: []string{"hosts"}, want: true},
		{name: "transport", sender: "own@a.example", transports: []string{"ways"}, want: true},
		{name: "default transport", sender: "x@c.example", transports: []string{"ways"}, want: true},
		{name: "can't be looked up", sender: "x@d.example", hosts: []string{"broken"}, want: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, asked := time.Unix(1e9, 0), 0
			s := &smartHosts{now: func() time.Time { return now }, log: zap.NewNop(), senders: map[string]verdict{}, again: make(chan string, 1),
				tables: func() ([]string, []string) { return c.hosts, c.transports },
				lookup: func(ctx context.Context, names, keys []string) (string, bool, error) {
					asked++
					return postfix.lookup(ctx, names, keys)
				}}
			if got := s.has(c.sender); got != c.want {
				t.Fatalf("%t, want %t", got, c.want)
			}
			first := asked
			if s.has(c.sender) != c.want || asked != first {
				t.Errorf("asked %d times, then %d", first, asked)
			}
			now = now.Add(verdictKept)
			if s.has(c.sender) != c.want || asked != first {
				t.Error("an old verdict was not given at once")
			}
			if again := len(s.again); again != min(first, 1) {
				t.Errorf("%d senders are to be asked again", again)
			}
		})
	}
}

// A node that takes part says so: in its facts, in Consul, and to the reader of the log. While Postfix isn't set up for it
// nothing is handed over, and the reason is told.
func TestRelayTakesPart(t *testing.T) {
	s := newSite(t)
	relay := fmt.Sprintf(`
relay:
  enabled: true
  map: {address: "unix:%s/map.sock", mode: 0600, group: ""}
  gate_port: %d
  listen: 127.0.0.1:0
  mode: balance
  members: [{name: n1, hop: "127.0.0.1:1", weight: 7}, {name: n2, hop: "127.0.0.1:1", weight: 3}]
`, s.dir, freePort(t))
	c, err := config.ParseMilter("milter.yaml", []byte(s.yaml(greet(t))+relay))
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, c)
	state := n.Info(t.Context()).Relay
	if state == nil || state.Mode != fleet.RelayBalance || state.Wired || state.From != fleet.FromConfiguration ||
		!strings.HasPrefix(state.Reason, "Postfix") {
		t.Fatalf("relay %+v", state)
	}
	_, hop, gate := n.RelayAddresses()
	if meta, want := n.apiMeta(c)[consul.MetaHop], ":"+strconv.Itoa(hop.(*net.TCPAddr).Port); meta != want {
		t.Errorf("hop port in Consul %q, want %q", meta, want)
	}
	if node := n.hopNode("127.43.0.1", int(gate)); node != fleet.AnyCarrier {
		t.Errorf("the gate for any is %q", node)
	}
	if node := n.hopNode("127.43.0.10", int(gate)); node != "n2" {
		t.Errorf("the first member's gate is %q", node)
	}
	if node, ok := n.hopOrigin("192.0.2.1", 4711); ok {
		t.Errorf("a connection that is not open is of %q", node)
	}
	if weight := ownWeight(c, "n1"); weight != 7 {
		t.Errorf("own weight %d", weight)
	}
	again := *c
	again.Relay.Members = append(again.Relay.Members, config.RelayMember{Name: "n3", Hop: "127.0.0.1:1", Weight: 1})
	again.Relay.Mode = "off"
	if err := n.Reload(&again); err != nil {
		t.Fatal(err)
	}
	if got := n.relay.probed.Members(); len(got) != 2 || got[1].Name != "n3" {
		t.Errorf("members after a reload: %+v", got)
	}
	if mode := n.relayState().Mode; mode != fleet.RelayOff {
		t.Errorf("mode after a reload: %s", mode)
	}
}

// Without a certificate a node can't take part, and says so before it starts.
func TestRelayNeedsACertificate(t *testing.T) {
	s := newSite(t)
	c := s.config(t, greet(t), "certificates: files", "certificates: \"off\"")
	c.Relay.Enabled = true
	var bad *ConfigError
	if _, err := New(c, Options{Hostname: "n1", Log: quiet(t)}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "relay.enabled") {
		t.Errorf("%v", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.43.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
