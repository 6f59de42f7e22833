package pki

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Another implementation takes our certificates for what they are, with its strict reading of RFC 5280.
func TestOpenSSLAgrees(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("SKIPPED: no openssl on this machine")
	}
	dir, err := Init(t.TempDir(), "test", time.Now(), year)
	must(t, err)
	paths, err := dir.Issue(Request{Identity: Identity{Node, "mx1"}, Addresses: []string{"mx1.example.com", "2001:db8::1"}, Valid: year}, time.Now(), "")
	must(t, err)
	for _, purpose := range []string{"sslserver", "sslclient"} {
		out, err := exec.Command("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", paths.CA, paths.Cert).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", purpose, err, out)
		}
	}
	out, err := exec.Command("openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", paths.Cert).CombinedOutput()
	want := "DNS:mx1.example.com, IP Address:2001:DB8:0:0:0:0:0:1, URI:spiffe://postfleet/node/mx1"
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s", err, out)
	}
}
