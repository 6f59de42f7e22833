package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
)

// The commands work on the state that the daemon keeps, whether it runs or not.
func TestDKIMLifeCommands(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	config := "node: {name: mx7}\ndkim: {keys_dir: " + root + "/keys, rotation: {selector: \"{node}-x{letter}\", types: [ed25519]}}\nrepository: {dir: " + root + "/data}\n"
	if err := os.WriteFile("milter.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string, string) {
		return command("", append([]string{"dkim", args[0], "--config", "milter.yaml"}, args[1:]...)...)
	}
	if status, _, problems := run("rotate"); status != exitUsage || !strings.Contains(problems, "the daemon has not run") {
		t.Errorf("before the daemon: %d, %q", status, problems)
	}
	if _, err := dkim.Generate(filepath.Join(root, "keys"), "example.com", "mx7", dkim.Ed25519, 0); err != nil {
		t.Fatal(err)
	}
	template, err := dkim.ParseTemplate("{node}", "mx7")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := dkim.LoadKeys(filepath.Join(root, "keys"), template)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("data", 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := life.Open(life.Options{Dir: filepath.Join(root, "data", "keys"), Node: "mx7", Next: "{letter}"}, ring); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name        string
		args        []string
		status      int
		out, errors string
	}{
		{"list", []string{"list"}, exitDone, "mx7   example.com  mx7-ed25519  ed25519-sha256  generated  no", ""},
		{"activate", []string{"activate", "example.com", "mx7-ed25519"}, exitFailed, "", "was not seen: it was not looked up yet; force it"},
		{"force", []string{"activate", "--force", "example.com", "mx7-ed25519"}, exitDone, "active  yes    forced by ", ""},
		{"rotate", []string{"rotate", "example.com"}, exitDone, "mx7-xa-ed25519  ed25519-sha256  generated  no", ""},
		{"records of what waits", []string{"dns"}, exitDone, "; made by the daemon\nmx7-xa-ed25519._domainkey.example.com.\tIN\tTXT\t\"v=DKIM1;", ""},
		{"records of one domain", []string{"dns", "example.com"}, exitDone, "mx7-xa-ed25519._domainkey", ""},
		{"wait in vain", []string{"wait", "--timeout", "1ms", "Example.com"}, exitFailed, "", "not after 1ms: mx7: mx7-xa-ed25519._domainkey.example.com " +
			"does not sign: its record is not in DNS: it was not looked up yet; publish mx7-xa-ed25519._domainkey.example.com TXT \"v=DKIM1;"},
		{"wait for a domain without keys", []string{"wait", "example.org"}, exitFailed, "", `no key for "example.org" on node mx7`},
		{"wait for no time", []string{"wait", "--timeout", "0"}, exitUsage, "", "--timeout: expected a time"},
		{"rotate again", []string{"rotate", "example.com"}, exitFailed, "", "waits already"},
		{"no such domain", []string{"rotate", "example.net"}, exitFailed, "", `no key for "example.net"`},
		{"the last one", []string{"retire", "example.com", "mx7-ed25519"}, exitFailed, "", "is the last key that signs"},
		{"call off", []string{"retire", "EXAMPLE.com", "mx7-xa-ed25519"}, exitDone, "retired", ""},
		{"wait", []string{"wait", "--timeout", "1m"}, exitDone, "mx7-ed25519     ed25519-sha256  active   yes", ""},
		{"no selector", []string{"retire", "example.com"}, exitUsage, "", "expected a domain and a selector"},
		{"both kinds of nodes", []string{"list", "--on", "a", "--on-all"}, exitUsage, "", "exclude each other"},
		{"one by one here", []string{"rotate", "--one-by-one"}, exitUsage, "", "goes with --on or --on-all"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, problems := run(tc.args...)
			if status != tc.status || !strings.Contains(out, tc.out) || !strings.Contains(problems, tc.errors) || tc.errors == "" && problems != "" {
				t.Errorf("status %d, out %q, errors %q", status, out, problems)
			}
		})
	}
	_, out, problems := command("", "check-config", "milter.yaml")
	for _, want := range []string{"\n  signs for example.com with selector mx7-ed25519 (ed25519-sha256)\n",
		"\n  does not sign for example.com with selector mx7-xa-ed25519 (ed25519-sha256) any more: retired\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("check-config without %q: %s%s", want, out, problems)
		}
	}
	_, out, _ = run("list", "--json")
	var nodes []fleet.NodeKeys
	if err := json.Unmarshal([]byte(out), &nodes); err != nil || len(nodes) != 1 || len(nodes[0].Keys) != 2 || !nodes[0].Keys[0].Signs {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDNSCommandUsage(t *testing.T) {
	dir := t.TempDir()
	plain := writeFile(t, dir, "aggregator.yaml", "members: {static: [{name: a, address: \"127.0.0.1:1\"}]}\n")
	open := writeFile(t, dir, "open.key", "key a { algorithm hmac-sha256; secret \"c2VjcmV0\"; };")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	keyed := writeFile(t, dir, "milter.yaml", "node: {name: a}\ndns: {update: {server: \"127.0.0.1:1\", key_file: "+open+"}}\n")
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"dry run alone", "--dry-run goes with --apply", []string{"--dry-run"}},
		{"no server", "names no dns.update.server", []string{"--apply", "--config", plain}},
		{"no configuration", "none.yaml", []string{"--apply", "--config", filepath.Join(dir, "none.yaml")}},
		{"a key that others can read", "mode 0644", []string{"--apply", "--config", keyed}},
		{"two forms", "exclude each other", []string{"--zone", "--json"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if status, _, problems := command("", append([]string{"dns"}, tc.args...)...); status != exitUsage || !strings.Contains(problems, tc.want) {
				t.Errorf("status %d, %q", status, problems)
			}
		})
	}
}
