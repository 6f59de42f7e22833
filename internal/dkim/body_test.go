package dkim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"pgregory.net/rapid"
)

// pieces that bodies in tests are made of: what the canonicalisations look at, and long runs to break.
var pieces = []string{"a", "b", ".", " ", "  ", "\t", "\r\n", "\r\n\r\n", "\n", "\r", "\r\r\n", " \r\n", "\xff", "\x00",
	strings.Repeat("x", 9), strings.Repeat("y", 11), strings.Repeat("z ", 40), strings.Repeat("\r\n", 1500), strings.Repeat("w", 3000)}

func drawBody(t *rapid.T, from []string) string {
	return strings.Join(rapid.SliceOf(rapid.SampledFrom(from)).Draw(t, "pieces"), "")
}

func without(list []string, bad string) (kept []string) {
	for _, text := range list {
		if !strings.Contains(strings.ReplaceAll(text, "\r\n", ""), bad) {
			kept = append(kept, text)
		}
	}
	return kept
}

func hashInChunks(t *rapid.T, text string, relaxed bool, limit int) []byte {
	b := newBody(relaxed, limit)
	for rest := []byte(text); len(rest) > 0; {
		n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
		b.Write(rest[:n])
		rest = rest[n:]
	}
	return b.close()
}

// TestBodyAgreesWithGoMsgauth: on bodies without stray CR, which go-msgauth takes for white space, both hash the same.
func TestBodyAgreesWithGoMsgauth(t *testing.T) {
	for _, canonicalization := range []dkim.Canonicalization{dkim.CanonicalizationRelaxed, dkim.CanonicalizationSimple} {
		t.Run(string(canonicalization), func(t *testing.T) {
			signer := newSigner(t, testOptions(keyDir(t, "example.com")))
			rapid.Check(t, func(t *rapid.T) {
				text := drawBody(t, without(pieces, "\r"))
				got := hashInChunks(t, text, canonicalization == dkim.CanonicalizationRelaxed, 0)
				want := goMsgauthBodyHash(t, signer.Keys()[1], canonicalization, text)
				if base64.StdEncoding.EncodeToString(got) != want {
					t.Fatalf("body hash of %q differs", text)
				}
			})
		})
	}
}

var bodyHashTag = regexp.MustCompile(`bh=([^;]*);`)

func goMsgauthBodyHash(t *rapid.T, key *Key, canonicalization dkim.Canonicalization, body string) string {
	s, err := dkim.NewSigner(&dkim.SignOptions{Domain: key.Domain, Selector: key.Selector, Signer: key.signer,
		BodyCanonicalization: canonicalization, HeaderKeys: []string{"From"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(s, "From: a@example.com\r\n\r\n"+body)
	if closed := s.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
	return bodyHashTag.FindStringSubmatch(s.Signature())[1]
}

// TestBodyAgreesWithThePlainReading compares with the RFC's text put into code line by line, line breaking and stray CR
// included.
func TestBodyAgreesWithThePlainReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawBody(t, pieces)
		relaxed := rapid.Bool().Draw(t, "relaxed")
		limit := rapid.SampledFrom([]int{0, 10, 998}).Draw(t, "limit")
		if got, want := hashInChunks(t, text, relaxed, limit), plainHash(text, relaxed, limit); !bytes.Equal(got, want) {
			t.Fatalf("body hash of %q (relaxed %t, limit %d) differs", text, relaxed, limit)
		}
	})
}

func plainHash(text string, relaxed bool, limit int) []byte {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	var lines []string
	for _, line := range strings.Split(text, "\r\n") {
		lines = append(lines, strings.Split(breakLines(line, 0, limit), "\r\n")...)
	}
	if relaxed {
		for i, line := range lines {
			line = regexp.MustCompile("[ \t]+").ReplaceAllString(line, " ")
			lines[i] = strings.TrimSuffix(line, " ")
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	canonical := strings.Join(lines, "\r\n")
	if len(lines) > 0 || !relaxed {
		canonical += "\r\n"
	}
	hash := sha256.Sum256([]byte(canonical))
	return hash[:]
}

func TestBreakLines(t *testing.T) {
	tests := map[string]struct {
		value string
		used  int
		want  string
	}{
		"fits":              {"12345", 5, "12345"},
		"one over":          {"123456", 5, "12345\r\n 6"},
		"exactly two lines": {"12345123456789", 5, "12345\r\n 123456789"},
		"three lines":       {"12345123456789x", 5, "12345\r\n 123456789\r\n x"},
		"folded":            {"1\r\n abcdefghij", 5, "1\r\n abcdefghi\r\n j"},
		"name fills a line": {"1", 10, "\r\n 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := breakLines(test.value, test.used, 10); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
