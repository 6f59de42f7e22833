package dkim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func template(t *testing.T, text string) Template {
	t.Helper()
	parsed, err := ParseTemplate(text, "node1")
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// put generates a key whose file is named after a selector.
func put(t *testing.T, dir, domain, selector, kind string) {
	t.Helper()
	if _, err := Generate(dir, domain, selector, kind, MinBits); err != nil {
		t.Fatal(err)
	}
}

func TestLoadKeys(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "example.com", "node1", Ed25519)
	put(t, dir, "example.com", "node1", RSA)
	put(t, dir, "example.com", "node2", Ed25519) // another node's
	put(t, dir, "example.org", "node1", Ed25519)
	put(t, dir, "example.net", "node2", Ed25519)
	if err := os.WriteFile(filepath.Join(dir, "example.com", "notes.txt"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	ring, err := LoadKeys(dir, template(t, "{node}"))
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Selector{
		{Domain: "example.com", Selector: "node1", Algorithm: "rsa-sha256", Bits: 2048},
		{Domain: "example.com", Selector: "node1-ed25519", Algorithm: "ed25519-sha256"},
		{Domain: "example.org", Selector: "node1-ed25519", Algorithm: "ed25519-sha256"},
	}
	if diff := cmp.Diff(want, ring.Selectors(fixed)); diff != "" {
		t.Errorf("selectors (-want +got):\n%s", diff)
	}
	if empty, err := LoadKeys(filepath.Join(dir, "nowhere"), template(t, "{node}")); err != nil || len(empty.Keys()) != 0 {
		t.Errorf("a directory that isn't there: %v, %v", empty, err)
	}
}

func TestKeysTakeOverOnTheirDay(t *testing.T) {
	dir := t.TempDir()
	for _, selector := range []string{"node1-20261101", "node1-20261123", "node1-20261201", "node1-notaday", "node2-20261122"} {
		put(t, dir, "example.com", selector, Ed25519)
	}
	ring, err := LoadKeys(dir, template(t, "{node}-{date}"))
	if err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]string{"2026-10-31": "", "2026-11-01": "node1-20261101-ed25519", "2026-11-22": "node1-20261101-ed25519",
		"2026-11-23": "node1-20261123-ed25519", "2026-11-30": "node1-20261123-ed25519", "2027-05-01": "node1-20261201-ed25519"} {
		now, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if keys := ring.Signing("example.com", now); len(keys) == 1 {
			got = keys[0].Selector
		}
		if got != want {
			t.Errorf("on %s %q signs, want %q", day, got, want)
		}
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"others can read it":  {func(t *testing.T, path string) { chmod(t, path, 0o644) }, "lets others reach the private key"},
		"others can write it": {func(t *testing.T, path string) { chmod(t, path, 0o602) }, "lets others reach the private key"},
		"not PEM":             {func(t *testing.T, path string) { write(t, path, "hello") }, "expected a private key in PEM form"},
		"damaged":             {func(t *testing.T, path string) { write(t, path, pemText("PRIVATE KEY", []byte("x"))) }, "asn1"},
		"a certificate":       {func(t *testing.T, path string) { write(t, path, pemText("CERTIFICATE", []byte("x"))) }, "expected a private key"},
		"1024 bits": {func(t *testing.T, path string) {
			write(t, path, pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)))
		},
			"expected at least 2048"},
		"other kind": {func(t *testing.T, path string) {
			text, err := os.ReadFile(strings.Replace(path, ".rsa.", ".ed25519.", 1))
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, string(text))
		}, "its name says rsa"},
		"a directory": {func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, "expected a regular file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := keyDir(t, "example.com")
			path := filepath.Join(dir, "example.com", "node1.rsa.pem")
			test.spoil(t, path)
			_, err := LoadKeys(dir, template(t, "{node}"))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q that names %s", err, test.want, path)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestOpenDKIMKeys: keys as opendkim-genkey writes them (PKCS #1) are taken.
func TestOpenDKIMKeys(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "example.com"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "example.com", "node1.rsa.pem"), pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private)))
	ring, err := LoadKeys(dir, template(t, "{node}"))
	if err != nil || len(ring.Keys()) != 1 {
		t.Errorf("%v, %v", ring, err)
	}
}

func TestGenerateKeepsWhatIsThere(t *testing.T) {
	dir := keyDir(t, "example.com")
	if _, err := Generate(dir, "example.com", "node1", RSA, MinBits); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want one that the file exists", err)
	}
	info, err := os.Stat(filepath.Join(dir, "example.com", "node1.rsa.pem"))
	if err != nil || info.Mode().Perm() != keyMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, domain := range []string{"", "../x", "a b", "-x.example"} {
		if _, err := Generate(dir, domain, "node1", Ed25519, 0); err == nil {
			t.Errorf("domain %q is taken", domain)
		}
	}
	if _, err := Generate(dir, "example.org", "../node1", Ed25519, 0); err == nil {
		t.Error("a selector that leaves the directory is taken")
	}
}

// TestNativeSignerAgrees: libcrypto and Go make the same bytes.
func TestNativeSignerAgrees(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	native, err := nativeRSA(private)
	if errors.Is(err, errNoNative) {
		t.Skip("SKIPPED: no libcrypto.so.3 here; RSA is Go's")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "a", "b"} {
		hash := sha256.Sum256([]byte(text))
		got, err := native.Sign(nil, hash[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		want, err := private.Sign(nil, hash[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("signatures of %q differ", text)
		}
	}
	if _, err := native.Sign(nil, []byte("short"), crypto.SHA256); err == nil {
		t.Error("a hash of five bytes is signed")
	}
	if _, err := native.Sign(nil, make([]byte, 20), crypto.SHA1); err == nil {
		t.Error("SHA-1 is signed")
	}
}

func TestZoneRecord(t *testing.T) {
	ring, err := LoadKeys(keyDir(t, "example.com"), template(t, "{node}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range ring.Keys() {
		line := key.ZoneRecord()
		if !strings.HasPrefix(line, key.Selector+"._domainkey.example.com.\tIN\tTXT\t") {
			t.Errorf("record %q", line)
		}
		joined := ""
		for i, part := range strings.Split(line, `"`) {
			if i%2 == 1 {
				joined += part
				if len(part) > maxTXT {
					t.Errorf("a string of %d bytes", len(part))
				}
			}
		}
		if joined != key.Record() {
			t.Errorf("strings %q, want %q", joined, key.Record())
		}
	}
}
