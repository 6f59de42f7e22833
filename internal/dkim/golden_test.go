package dkim

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenDir is a key directory with the keys of testdata, which sign nothing but tests, under modes that a checkout loses.
func goldenDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "example.com"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{RSA, Ed25519} {
		text, err := os.ReadFile(filepath.Join("testdata", "keys", "golden."+kind+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "example.com", "golden."+kind+".pem"), string(text))
	}
	return dir
}

// TestGolden signs messages with fixed keys at a fixed time and compares every byte. Both algorithms are deterministic.
func TestGolden(t *testing.T) {
	dir := goldenDir(t)
	tests := map[string]struct {
		message string
		change  func(o *Options)
	}{
		"plain":     {plain, func(*Options) {}},
		"simple":    {plain, func(o *Options) { o.Canonicalization = "simple/simple" }},
		"all-tags":  {plain, func(o *Options) { o.Identity, o.Expire = "news@{domain}", 7*24*time.Hour }},
		"many":      {strings.Repeat("To: a@example.net\r\n", 20) + plain, func(*Options) {}},
		"long-line": {"From: a@example.com\r\n\r\n" + strings.Repeat("x", 2500) + "\r\n", func(*Options) {}},
		"long-name": {plain, func(o *Options) { o.Headers = append(o.Headers, strings.Repeat("X-Long-", 12)+"Name", "Cc") }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := testOptions(dir)
			o.Selector = "golden"
			test.change(&o)
			s := newSigner(t, o)
			signed := signMessage(t, s, test.message, 65535)
			got := strings.TrimSuffix(signed, test.message)
			path := filepath.Join("testdata", "golden", name)
			if *update {
				write(t, path, got)
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				write(t, path+".got", got)
				t.Errorf("(-want +got):\n%s", diff)
			}
			for line := range strings.SplitSeq(got, "\r\n") {
				if len(line) > 998 || len(line) > 78 && !strings.Contains(line, "X-Long") {
					t.Errorf("a line of %d bytes: %q", len(line), line)
				}
			}
			if strings.Contains(got, " l=") || strings.Contains(got, "sha1") {
				t.Error("l= or SHA-1 in a signature")
			}
		})
	}
}
