package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/pki"
)

func TestPKICommands(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	for _, tc := range []struct {
		name        string
		args        []string
		status      int
		out, errors string
	}{
		{"no CA yet", []string{"issue", "--dir", "ca", "node", "mx1"}, exitFailed, "", "ca/ca.pem: no such file"},
		{"init", []string{"init", "ca"}, exitDone, "postfleet pki issue --dir ca --out OUT node NAME", ""},
		{"init again", []string{"init", "ca"}, exitFailed, "", "ca/ca.key is there already"},
		{"issue", []string{"issue", "--dir", "ca", "--addr", "mx1.example.com,192.0.2.1", "node", "mx1"}, exitDone,
			"ca/node-mx1.pem\nca/node-mx1.key\nca/ca.pem\n", ""},
		{"issue again", []string{"issue", "--dir", "ca", "node", "mx1"}, exitFailed, "", "node mx1 has a certificate already, ca/node-mx1.pem: renew it"},
		{"issue elsewhere as JSON", []string{"issue", "--dir", "ca", "--out", "page", "--json", "aggregator", "page"}, exitDone,
			`{"certificate":"page/aggregator-page.pem","key":"page/aggregator-page.key","ca":"page/ca.pem"}`, ""},
		{"bad role", []string{"issue", "--dir", "ca", "admin", "x"}, exitUsage, "", `"admin" is not a role`},
		{"bad name", []string{"issue", "--dir", "ca", "node", "../x"}, exitUsage, "", `"../x" is not a name`},
		{"bad days", []string{"issue", "--dir", "ca", "--days", "0", "node", "mx2"}, exitUsage, "", "--days 0: expected 1 to 36500"},
		{"no name", []string{"issue", "--dir", "ca", "node"}, exitUsage, "", "expected 2 arguments"},
		{"renew", []string{"renew", "--dir", "ca", "--days", "30", "node", "mx1"}, exitDone, "ca/node-mx1.key", ""},
		{"renew elsewhere", []string{"renew", "--dir", "ca", "--out", "page", "aggregator", "page"}, exitDone, "page/aggregator-page.pem", ""},
		{"renew nothing", []string{"renew", "--dir", "ca", "node", "mx9"}, exitFailed, "", "nothing to renew"},
		{"list", []string{"list", "--dir", "ca"}, exitDone, "29 days", ""},
		{"show", []string{"show", "page/aggregator-page.pem"}, exitDone, "aggregator  page", ""},
		{"show nothing", []string{"show"}, exitUsage, "", "expected the certificate files"},
		{"show a key", []string{"show", "ca/ca.key"}, exitFailed, "", "ca/ca.key: no PEM certificate in it"},
		{"no command", nil, exitUsage, "Usage:", "expected one of the commands"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, problems := command("", append([]string{"pki"}, tc.args...)...)
			if status != tc.status || !strings.Contains(out, tc.out) || !strings.Contains(problems, tc.errors) || tc.errors == "" && problems != "" {
				t.Errorf("status %d, out %q, errors %q", status, out, problems)
			}
		})
	}
	_, out, _ := command("", "pki", "list", "--dir", "ca", "--json")
	var list []pki.Certificate
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(list) != 3 || list[0].Role != pki.RoleCA || list[2].Name != "mx1" || strings.Join(list[2].Addresses, " ") != "mx1.example.com 192.0.2.1" {
		t.Errorf("list: %+v", list)
	}
	for _, secret := range []string{"ca/ca.key", "ca/node-mx1.key", "page/aggregator-page.key"} {
		info, err := os.Stat(filepath.Join(root, secret))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, info, err)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "EXPIRED", 5 * time.Hour: "5 h", 47 * time.Hour: "47 h",
		49 * time.Hour: "2 days", 365 * day: "365 days"} {
		if got := left(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
