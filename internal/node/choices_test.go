package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
)

func TestLogSourceAuto(t *testing.T) {
	there := filepath.Join(t.TempDir(), "mail.log")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ source, file, want string }{
		{"auto", there, logFile},
		{"auto", there + ".none", logJournal},
		{"file", there + ".none", logFile},
		{"journal", there, logJournal},
	} {
		if got := logKind(&config.PostfixLog{Source: c.source, File: config.Path(c.file)}); got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.source, c.file, got, c.want)
		}
	}
}

func TestCertificateSourceAuto(t *testing.T) {
	there := filepath.Join(t.TempDir(), "node-n1.pem")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	template := config.Path(filepath.Join(filepath.Dir(there), "node-{node}.pem"))
	for _, c := range []struct {
		name, set, node string
		consul          bool
		want            string
	}{
		{"files there", "auto", "n1", true, fromFiles},
		{"no files, consul", "auto", "n2", true, fromConsul},
		{"no files, no consul", "auto", "n2", false, noAPI},
		{"files meant", "files", "n2", true, fromFiles},
		{"consul meant", "consul", "n1", true, fromConsul},
		{"off", "off", "n1", true, noAPI},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := config.DefaultMilter()
			settings.API.Certificates, settings.API.CertFile, settings.Consul.Enabled = c.set, template, c.consul
			if got := certificateSource(&settings, c.node); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestServices(t *testing.T) {
	s := newSite(t)
	c := s.config(t, greet(t), "api:\n", "api:\n  address: n1.example.com:8525\n", "status:", "consul: {weight: 30, mail_tags: [primary]}\nstatus:")
	n := start(t, c)
	_, status := n.Addresses()
	want := []consul.Service{
		{ID: "postfleet-node-n1", Name: "postfleet-node", Address: "n1.example.com", Port: 8525, Check: "http://" + status + "/healthz",
			Meta: map[string]string{"node": "n1", "version": "1.2.3", "role": "node", "mail": "192.0.2.1:25", "selectors": "example.com/n1"}},
		{ID: "smtp-out-n1", Name: "smtp-out", Address: "192.0.2.1", Port: 25, Check: "http://" + status + "/healthz/mail",
			Tags: []string{"primary"}, Meta: map[string]string{"node": "n1"}, Weight: 30, CheckEvery: 3 * time.Second},
	}
	if diff := cmp.Diff(want, n.services()); diff != "" {
		t.Error(diff)
	}
}

func TestLoopbackURL(t *testing.T) {
	for listening, want := range map[string]string{
		"127.0.0.1:8526": "http://127.0.0.1:8526/healthz",
		"[::]:8526":      "http://127.0.0.1:8526/healthz",
		"0.0.0.0:1":      "http://127.0.0.1:1/healthz",
		"[::1]:1":        "http://[::1]:1/healthz",
		"192.0.2.1:1":    "http://192.0.2.1:1/healthz",
	} {
		if got := loopbackURL(netip.MustParseAddrPort(listening), "/healthz"); got != want {
			t.Errorf("%s: %s, want %s", listening, got, want)
		}
	}
}

func TestHostPort(t *testing.T) {
	for _, c := range []struct {
		address string
		host    string
		port    int
	}{{"", "", 25}, {":2525", "", 2525}, {"mx1.example.com:25", "mx1.example.com", 25}, {"[2001:db8::1]:26", "2001:db8::1", 26}} {
		if host, port := hostPort(c.address, 25); host != c.host || port != c.port {
			t.Errorf("%q: %s %d", c.address, host, port)
		}
	}
}
