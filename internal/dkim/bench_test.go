package dkim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// benchKeys keeps keys of a kind only.
func benchKeys(b *testing.B, kinds ...string) string {
	b.Helper()
	dir := b.TempDir()
	for _, kind := range kinds {
		if _, err := Generate(dir, "example.com", "node1", kind, MinBits); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

func benchmarkSigning(b *testing.B, size int, kinds ...string) {
	s := newSigner(b, testOptions(benchKeys(b, kinds...)))
	line := []byte("the quick brown fox jumps over the lazy dog and runs through the woods.\r\n")
	text := bytes.Repeat(line, size/len(line)+1)[:size]
	header := [][2]string{{"From", " Anna <anna@example.com>"}, {"To", " bob@example.net"}, {"Subject", " A subject of some words"},
		{"Date", " Mon, 23 Nov 2026 10:00:00 +0000"}, {"Message-ID", " <1234567890@example.com>"}, {"Received", " from a by b"},
		{"Content-Type", " text/plain; charset=utf-8"}}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		g := s.Begin(fixed)
		for _, field := range header {
			g.Header(field[0], field[1])
		}
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 65535)
			g.Body(rest[:n])
			rest = rest[n:]
		}
		if signed, err := g.Finish(fixed); err != nil || len(signed.Fields) != len(kinds) {
			b.Fatal(signed, err)
		}
	}
}

func BenchmarkSign4KRSA(b *testing.B)     { benchmarkSigning(b, 4<<10, RSA) }
func BenchmarkSign4KEd25519(b *testing.B) { benchmarkSigning(b, 4<<10, Ed25519) }
func BenchmarkSign4KBoth(b *testing.B)    { benchmarkSigning(b, 4<<10, RSA, Ed25519) }
func BenchmarkSign5MEd25519(b *testing.B) { benchmarkSigning(b, 5<<20, Ed25519) }

// BenchmarkBody compares what canonicalisation costs over the bare hash, on lines that need no change and on such that do.
func BenchmarkBody(b *testing.B) {
	for name, line := range map[string]string{
		"clean":  "the quick brown fox jumps over the lazy dog and runs through the woods.\r\n",
		"spaces": "the  quick  brown  fox  jumps  over \tthe  lazy  dog  and  runs  through \r\n",
		"base64": strings.Repeat("QUJD", 19) + "\r\n",
	} {
		text := []byte(strings.Repeat(line, 1<<20/len(line)))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				body := newBody(true, DefaultLineLimit)
				body.Write(text)
				body.close()
			}
		})
	}
	text := bytes.Repeat([]byte("x"), 1<<20)
	b.Run("hash alone", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			sha256.Sum256(text)
		}
	})
}

// BenchmarkRSA compares a signature by libcrypto and by Go.
func BenchmarkRSA(b *testing.B) {
	dir := benchKeys(b, RSA)
	text, err := os.ReadFile(filepath.Join(dir, "example.com", "node1.rsa.pem"))
	if err != nil {
		b.Fatal(err)
	}
	private, err := parsePrivate(text)
	if err != nil {
		b.Fatal(err)
	}
	signers := map[string]crypto.Signer{"go": private.(*rsa.PrivateKey)}
	if native, err := nativeRSA(private.(*rsa.PrivateKey)); err == nil {
		signers["libcrypto"] = native
	}
	hash := sha256.Sum256(nil)
	for name, signer := range signers {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := signer.Sign(nil, hash[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
