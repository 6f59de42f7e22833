package pki

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestFilesReload(t *testing.T) {
	dir, err := Init(t.TempDir(), "test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Node, "mx1"}
	paths, err := dir.Issue(Request{Identity: id, Valid: time.Hour}, time.Now(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := NewFiles(FileOptions{Cert: paths.Cert, Key: paths.Key, CA: paths.CA, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		t.Helper()
		cert, roots, err := files.Credentials()
		if err != nil || roots == nil {
			t.Fatalf("roots %v, %v", roots, err)
		}
		return cert.Leaf.SerialNumber.Text(16)
	}
	first := serial()

	// A key that doesn't fit the certificate yet: the first of the two renames of a renewal.
	key, err := os.ReadFile(paths.Key)
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := NewAuthority("x", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(paths.Key, foreign.Key); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != first {
		t.Error("a pair that doesn't fit was taken")
	}
	if err := os.Remove(paths.Key); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != first {
		t.Error("nothing is shown while the key is away")
	}
	if err := os.WriteFile(paths.Key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != first {
		t.Error("the old pair is not the old pair")
	}
	if _, err := dir.Renew(id, time.Hour, time.Now(), filepath.Dir(paths.Cert)); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got == first {
		t.Error("the renewed certificate was not taken")
	}
}

func TestFilesRefused(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, p Paths)
		want  string
	}{
		{"key readable by all", func(t *testing.T, p Paths) { must(t, os.Chmod(p.Key, 0o644)) }, "mode 0644 lets every user"},
		{"no key", func(t *testing.T, p Paths) { must(t, os.Remove(p.Key)) }, ".key: no such file"},
		{"no certificate", func(t *testing.T, p Paths) { must(t, os.Remove(p.Cert)) }, "node-mx1.pem: no such file"},
		{"no CA", func(t *testing.T, p Paths) { must(t, os.Remove(p.CA)) }, "ca.pem: no such file"},
		{"CA is no PEM", func(t *testing.T, p Paths) { must(t, os.WriteFile(p.CA, []byte("x"), 0o600)) }, "ca.pem: no PEM certificate"},
		{"certificate is no PEM", func(t *testing.T, p Paths) { must(t, os.WriteFile(p.Cert, []byte("x"), 0o600)) }, "node-mx1.pem with key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, err := Init(t.TempDir(), "test", time.Now(), time.Hour)
			must(t, err)
			paths, err := dir.Issue(Request{Identity: Identity{Node, "mx1"}, Valid: time.Hour}, time.Now(), "")
			must(t, err)
			tc.spoil(t, paths)
			_, err = NewFiles(FileOptions{Cert: paths.Cert, Key: paths.Key, CA: paths.CA, Log: zap.NewNop()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
