package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDKIMCommands(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	config := "node: {name: mx7}\ndkim: {keys_dir: " + filepath.Join(root, "configured") + ", selector: \"{node}-s\"}\n"
	if err := os.WriteFile("milter.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--keys-dir", "keys", "--selector", "s1"}
	for _, tc := range []struct {
		name        string
		args        []string
		status      int
		out, errors string
	}{
		{"no command", nil, exitUsage, "Usage:", "expected one of the commands"},
		{"no domain", []string{"keygen"}, exitUsage, "", "no domain named"},
		{"keygen", append([]string{"keygen", "example.com", "example.org"}, flags...), exitDone, "s1-ed25519._domainkey.example.org.\tIN\tTXT\t\"v=DKIM1;", ""},
		{"keygen again", append([]string{"keygen", "example.com"}, flags...), exitFailed, "", "keys/example.com/s1.rsa.pem: file exists"},
		{"weak", append([]string{"keygen", "--bits", "1024", "example.net"}, flags...), exitUsage, "", "--bits 1024: expected 2048 to 8192"},
		{"other type", append([]string{"keygen", "--type", "dsa", "example.net"}, flags...), exitUsage, "", `--type "dsa": expected rsa or ed25519`},
		{"bad day", append([]string{"keygen", "--from", "tomorrow", "example.net"}, flags...), exitUsage, "", `--from "tomorrow": expected a day`},
		{"bad domain", append([]string{"keygen", "../x"}, flags...), exitFailed, "", "domain: expected a DNS name"},
		{"bad selector", []string{"dns", "--keys-dir", "keys", "--selector", "{x}"}, exitUsage, "", "expected no other names in braces"},
		{"dns", append([]string{"dns", "example.com"}, flags...), exitDone, "s1._domainkey.example.com.\tIN\tTXT\t( \"v=DKIM1; h=sha256; k=rsa; p=", ""},
		{"dns of a stranger", append([]string{"dns", "example.net"}, flags...), exitFailed, "", "no key of this node for example.net in keys"},
		{"list", append([]string{"list"}, flags...), exitDone, "example.com  s1          rsa-sha256      2048  yes", ""},
		{"by configuration", []string{"keygen", "--config", "milter.yaml", "--type", "ed25519", "example.com"}, exitDone, "mx7-s-ed25519._domainkey.example.com.", ""},
		{"for a day to come", []string{"keygen", "--keys-dir", "keys", "--selector", "{node}-{date}", "--node", "n", "--from", "2999-12-01", "--type", "ed25519",
			"example.com"}, exitDone, "n-29991201-ed25519._domainkey.example.com.", ""},
		{"not used yet", []string{"list", "--keys-dir", "keys", "--selector", "{node}-{date}", "--node", "n"}, exitDone, "ed25519-sha256  -     no", ""},
		{"no such configuration", []string{"list", "--config", "nowhere.yaml"}, exitUsage, "", "nowhere.yaml"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, problems := command("", append([]string{"dkim"}, tc.args...)...)
			if status != tc.status || !strings.Contains(out, tc.out) || !strings.Contains(problems, tc.errors) || tc.errors == "" && problems != "" {
				t.Errorf("status %d, out %q, errors %q", status, out, problems)
			}
		})
	}

	_, out, _ := command("", append([]string{"dkim", "list", "--json"}, flags...)...)
	var keys []keyRecord
	if err := json.Unmarshal([]byte(out), &keys); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(keys) != 4 || keys[0].Selector != "s1" || keys[0].Bits != 2048 || keys[0].Signing == nil || !*keys[0].Signing ||
		keys[0].Name != "s1._domainkey.example.com" || !strings.HasPrefix(keys[0].Text, "v=DKIM1; h=sha256; k=rsa; p=") {
		t.Errorf("keys: %+v", keys)
	}
	info, err := os.Stat("keys/example.com/s1.rsa.pem")
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
}
