package mta

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                           nil,
		" hash:/a , hash:/b\n\tx:y":  {"hash:/a", "hash:/b", "x:y"},
		"inline:{ {a b} = c, d }, e": {"inline:{ {a b} = c, d }", "e"},
		"broken:}{":                  {"broken:}{"},
	} {
		if diff := cmp.Diff(want, words(text)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

// configured makes a configuration directory that the real postconf(1) and postmap(1) read.
func configured(t *testing.T, main, master string) *Postfix {
	t.Helper()
	for _, tool := range []string{"postconf", "postmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: `make deps` installs Postfix", err)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": "compatibility_level = 3.6\n" + main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{ConfigDir: dir, QueueDir: dir})
}

func TestRouting(t *testing.T) {
	p := configured(t, `relayhost = $mydomain
mydomain = smart.example
sender_dependent_relayhost_maps = hash:/a
sender_dependent_default_transport_maps =
  inline:{ {x@y.example = smtp:[z]} },
  socketmap:unix:postfleet/map.sock:relay
inet_protocols = ipv4
`, "postfleet-hop unix - - n - - smtp\npostfleet-failover unix - - n - - smtp -o smtp_fallback_relay=[127.43.0.1]:10029\nsmtp inet n - n - - smtpd\n")
	got, err := p.Routing(t.Context(), "postfleet-failover", "postfleet-hop", "postfleet-carry", "smtp")
	if err != nil {
		t.Fatal(err)
	}
	want := &Routing{Relayhost: "smart.example", DefaultTransport: "smtp", SenderRelayhosts: []string{"hash:/a"},
		SenderTransports: []string{"inline:{ {x@y.example = smtp:[z]} }", "socketmap:unix:postfleet/map.sock:relay"},
		Services:         []string{"postfleet-hop", "postfleet-failover"}, Listeners: []string{"smtp"}, Fallback: "[127.43.0.1]:10029"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p.ConfigChanged().IsZero() || time.Since(p.ConfigChanged()) > time.Hour {
		t.Errorf("changed at %s", p.ConfigChanged())
	}
	if !New(Options{ConfigDir: "/nonexistent"}).ConfigChanged().IsZero() {
		t.Error("a configuration that isn't there was changed")
	}
}

func TestLookup(t *testing.T) {
	p := configured(t, "", "")
	table := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return "texthash:" + path
	}
	one, two := table("one", "a@x.example first\n-dash@x.example dash\n"), "proxy:"+table("two", "a@x.example second\n@x.example domain\n")
	for _, c := range []struct {
		name   string
		tables []string
		keys   []string
		want   string
		found  bool
		fails  bool
	}{
		{name: "first table", tables: []string{one, two}, keys: []string{"a@x.example", "@x.example"}, want: "first", found: true},
		{name: "other order", tables: []string{two, one}, keys: []string{"a@x.example", "@x.example"}, want: "second", found: true},
		{name: "later key", tables: []string{one, two}, keys: []string{"b@x.example", "@x.example"}, want: "domain", found: true},
		{name: "nowhere", tables: []string{one, two}, keys: []string{"b@y.example"}},
		{name: "looks like an option", tables: []string{one}, keys: []string{"-dash@x.example"}, want: "dash", found: true},
		{name: "no tables", keys: []string{"a@x.example"}},
		{name: "no such file", tables: []string{"texthash:/nonexistent"}, keys: []string{"a@x.example"}, fails: true},
		{name: "no such type", tables: []string{"nosuchtype:/x"}, keys: []string{"a@x.example"}, fails: true},
		{name: "nobody answers", tables: []string{"socketmap:unix:/nonexistent:x"}, keys: []string{"a@x.example"}, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, found, err := p.Lookup(t.Context(), c.tables, c.keys)
			if got != c.want || found != c.found || (err != nil) != c.fails {
				t.Errorf("%q, %t, %v", got, found, err)
			}
		})
	}
}
