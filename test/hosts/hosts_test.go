package hosts

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/browser"
	"github.com/postfleet/postfleet/test/lab"
)

// From bare Debian to a fleet, and through what a fleet goes through. The steps build on each other.
func TestFleet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Minute)
	defer cancel()
	s := startSite(t, ctx)
	for range 3 {
		s.addNode(t, ctx)
	}
	s.writeInventory(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"bare hosts to a fleet", s.setUp},
		{"mail through DNS and HAProxy", s.sendThrough},
		{"the page", s.look},
		{"upgrade under load", s.upgrade},
		{"downgrade", s.downgrade},
		{"a node more", s.grow},
		{"a package removed while mail flows", s.shrink},
		{"the next keys", s.rotate},
		{"a configuration that is no good", s.refuse},
		{"reboot", s.reboot},
	} {
		began := time.Now()
		if !t.Run(step.name, func(t *testing.T) { step.run(t, ctx) }) {
			t.Fatalf("%s failed, and what comes next builds on it:\n%s", step.name, s.journals(context.WithoutCancel(ctx)))
		}
		t.Logf("%-36s %s", step.name, time.Since(began).Round(time.Second))
	}
}

func (s *site) setUp(t *testing.T, ctx context.Context) {
	changed, _ := s.play(t, ctx, "site.yml")
	t.Logf("first run: %d changes", changed)
	s.publishKeys(t, ctx)
	if changed, out := s.play(t, ctx, "site.yml"); changed != 0 {
		t.Errorf("second run: %d changes:\n%s", changed, out)
	}
	if changed, out := s.play(t, ctx, "site.yml", "--check"); changed != 0 {
		t.Errorf("check mode: %d changes:\n%s", changed, out)
	}
	if _, out := s.play(t, ctx, "dns-records.yml"); strings.Count(out, "._domainkey."+domain) < 2*len(s.nodes) {
		t.Errorf("dns-records.yml prints not all records:\n%s", out)
	}
}

func (s *site) sendThrough(t *testing.T, ctx context.Context) {
	s.guarded(t, ctx)
	direct := s.send(t, ctx, throughDNS+" -count 30 -every 50ms -id dns")
	balanced := s.send(t, ctx, throughHAProxy+" -count 30 -every 50ms -id haproxy")
	selectors := s.arrived(t, ctx, append(direct, balanced...))
	t.Logf("signed by %v", selectors)
	for i := range s.nodes {
		if selectors[fmt.Sprintf("mx%d", i+1)] == 0 {
			t.Errorf("no mail went through mx%d", i+1)
		}
	}
}

// guarded holds that nobody but the balancer reaches the port at which Postfix believes a PROXY header.
func (s *site) guarded(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, m := range s.nodes {
		reach := fmt.Sprintf("timeout 2 bash -c ': </dev/tcp/%s/2525' && echo reached || echo cut", m.IP)
		if was := s.on(t, ctx, s.outside, reach+" 2>/dev/null"); was != "cut" {
			t.Errorf("a stranger at the port for PROXY headers of %s: %s", m.Name, was)
		}
		if was := s.on(t, ctx, s.nodes[0], reach); was != "reached" {
			t.Errorf("the balancer at the port for PROXY headers of %s: %s", m.Name, was)
		}
	}
}

// look opens the page through the master and reads a conversation that another node has.
func (s *site) look(t *testing.T, ctx context.Context) {
	chromium, err := browser.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer chromium.Close()
	base := "https://" + s.forward(t, nodeIP(1)+":8527")
	steps := []func() error{
		func() error { return chromium.SignIn(base, "ann", password) },
		func() error { return chromium.Open(base + "/messages?view=all&node=mx2&subject=dns-") },
		func() error {
			return chromium.Until("a message of mx2", `document.querySelector('a[href^="/messages/mx2/"]')`)
		},
		func() error { return chromium.Click(`a[href^="/messages/mx2/"]`) },
		func() error {
			return chromium.Until("the conversation with the outside", `document.body.innerText.includes("RCPT TO:<bob@outside.example>")`)
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for _, problem := range chromium.Problems() {
		t.Error(problem)
	}
}

// upgrade installs a higher version, one host at a time, while mail comes by both ways.
func (s *site) upgrade(t *testing.T, ctx context.Context) {
	s.build(t, ctx, secondVersion)
	s.install(t, ctx, secondVersion)
}

func (s *site) downgrade(t *testing.T, ctx context.Context) { s.install(t, ctx, firstVersion) }

func (s *site) install(t *testing.T, ctx context.Context, version string) {
	t.Helper()
	end := s.startLoad(t, ctx, version)
	s.play(t, ctx, "upgrade.yml", "-e", "postfleet_package_version="+version+"-1")
	taken := end()
	tries := 0
	for _, one := range taken {
		tries += one.Tries - 1
	}
	selectors := s.arrived(t, ctx, taken)
	t.Logf("%d mails, %d further tries of the clients; signed by %v", len(taken), tries, selectors)
	for _, m := range s.nodes {
		if out := s.on(t, ctx, m, "postfleet version"); !strings.Contains(out, version) {
			t.Errorf("%s has %s", m.Name, out)
		}
	}
}

// grow adds a fourth node.
func (s *site) grow(t *testing.T, ctx context.Context) {
	s.addNode(t, ctx)
	s.writeInventory(t)
	s.play(t, ctx, "add-node.yml", "--limit", s.nodes[3].Name+",consul_servers")
	s.publishKeys(t, ctx)
	selectors := s.arrived(t, ctx, s.send(t, ctx, throughDNS+" -count 60 -every 50ms -id grown"))
	if selectors["mx4"] == 0 {
		t.Errorf("nothing went through mx4: %v", selectors)
	}
}

// shrink takes the fourth node out again while a client that knows only it goes on sending.
func (s *site) shrink(t *testing.T, ctx context.Context) {
	last := s.nodes[3]
	s.on(t, ctx, s.outside, "systemd-run --quiet --unit=stubborn --property=StandardOutput=file:/var/log/stubborn outside send -name "+last.IP+
		" -count 0 -every 200ms -id stubborn")
	s.play(t, ctx, "remove-node.yml", "--limit", last.Name)
	s.on(t, ctx, s.outside, "sleep 2; systemctl stop stubborn")
	taken := parse(t, s.on(t, ctx, s.outside, "cat /var/log/stubborn"))
	err := lab.Until(ctx, func(ctx context.Context) error {
		came := s.mails(t, ctx)
		for _, one := range taken {
			if len(came[one.ID]) != 1 {
				return fmt.Errorf("mail %s came %d times", one.ID, len(came[one.ID]))
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d mails through the node meanwhile, each of them came", len(taken))
	if left := s.on(t, ctx, last, "postconf -n smtpd_milters non_smtpd_milters 2>/dev/null; postconf -P | grep debug_peer || true; ls /usr/bin/postfleet 2>/dev/null || true"); left != "" {
		t.Errorf("left on the node: %s", left)
	}
	if kept := s.on(t, ctx, last, "ls /etc/postfleet/keys"); kept != domain {
		t.Errorf("keys on the node: %q", kept)
	}
	s.on(t, ctx, last, "DEBIAN_FRONTEND=noninteractive apt-get purge -y -q postfleet")
	if kept := s.on(t, ctx, last, "ls -d /etc/postfleet /var/lib/postfleet /var/log/postfleet 2>/dev/null || true"); kept != "" {
		t.Errorf("left after the purge: %s", kept)
	}
	s.nodes = s.nodes[:3]
	s.writeInventory(t)
}

// rotate makes the next keys by playbook. An administrator publishes their records meanwhile, as the play waits on each node
// until it signs with its own.
func (s *site) rotate(t *testing.T, ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	publishing, stop := context.WithCancel(ctx)
	published := make(chan error, 1)
	go func() {
		pace := time.NewTicker(time.Second)
		defer pace.Stop()
		for {
			err := s.publishAsked(publishing)
			switch {
			case publishing.Err() != nil: // which may have cut it off
				published <- nil
				return
			case err != nil:
				published <- err
				return
			}
			<-pace.C
		}
	}()
	_, out := s.play(t, ctx, "rotate-keys.yml", "-e", "rotate_keys_timeout=120")
	stop()
	if err := <-published; err != nil {
		t.Errorf("publish: %v", err)
	}
	for i := range s.nodes {
		if record := fmt.Sprintf("mx%d-20", i+1); !strings.Contains(out, record) {
			t.Errorf("the play says nothing of a record %s…:\n%s", record, out)
		}
	}
	selectors := s.arrived(t, ctx, s.send(t, ctx, throughDNS+" -count 24 -every 50ms -id rotated"))
	t.Logf("signed by %v", selectors)
	for i := range s.nodes {
		if old := fmt.Sprintf("mx%d", i+1); selectors[old] > 0 {
			t.Errorf("%s still signs with its first key: %v", old, selectors)
		}
	}
}

// refuse gives a daemon a configuration that it can't use: it says so once and isn't started again and again.
func (s *site) refuse(t *testing.T, ctx context.Context) {
	m := s.nodes[2]
	s.on(t, ctx, m, "cp -p /etc/postfleet/milter.yaml /root/ && echo 'nonsense: true' >>/etc/postfleet/milter.yaml")
	state := s.on(t, ctx, m, "systemctl restart postfleet-milter 2>/dev/null; systemctl show --property=ActiveState,NRestarts,ExecMainStatus postfleet-milter")
	for _, want := range []string{"ActiveState=failed", "NRestarts=0", "ExecMainStatus=2"} {
		if !strings.Contains(state, want) {
			t.Errorf("without %s: %s", want, state)
		}
	}
	s.on(t, ctx, m, "cp -p /root/milter.yaml /etc/postfleet/ && systemctl restart postfleet-milter")
}

// reboot restarts every host; nobody lends a hand.
func (s *site) reboot(t *testing.T, ctx context.Context) {
	for _, m := range s.nodes {
		if err := m.Reboot(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range s.nodes {
		err := lab.Until(ctx, func(ctx context.Context) error {
			_, err := m.Run(ctx, `python3 -c 'import urllib.request;urllib.request.urlopen("http://127.0.0.1:8526/healthz/mail")'`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.guarded(t, ctx)
	list := append(s.send(t, ctx, throughDNS+" -count 20 -id rebooted-dns"), s.send(t, ctx, throughHAProxy+" -count 20 -id rebooted-haproxy")...)
	t.Logf("signed by %v", s.arrived(t, ctx, list))
	s.look(t, ctx)
	if changed, out := s.play(t, ctx, "site.yml"); changed != 0 {
		t.Errorf("after the reboot %d things have to be changed:\n%s", changed, out)
	}
}
