package dkim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// fixed is the time of every signature in the tests.
var fixed = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// keyDir makes a key directory with both keys for each domain, under the selector node1.
func keyDir(t testing.TB, domains ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, domain := range domains {
		for _, kind := range []string{RSA, Ed25519} {
			if _, err := Generate(dir, domain, "node1", kind, MinBits); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func testOptions(dir string) Options {
	return Options{KeysDir: dir, Node: "node1", Selector: "{node}", LineLimit: DefaultLineLimit,
		Headers:      []string{"From", "Subject", "Date", "To", "Message-ID", "Content-Type"},
		Oversign:     []string{"From", "Subject", "Date", "To"},
		OnMissingKey: Tempfail, OnBadFrom: Accept}
}

func newSigner(t testing.TB, o Options) *Signer {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signMessage runs a message, as Postfix sends it, through a signer the way the milter does, in chunks of a size.
func signMessage(t testing.TB, s *Signer, message string, chunk int) string {
	t.Helper()
	header, body, _ := strings.Cut(message, "\r\n\r\n")
	g := s.Begin(fixed)
	header = strings.ReplaceAll(header, "\r\n\t", "\n\t")
	header = strings.ReplaceAll(header, "\r\n ", "\n ")
	for line := range strings.SplitSeq(header, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		g.Header(name, value)
	}
	for rest := []byte(body); len(rest) > 0; {
		n := min(chunk, len(rest))
		g.Body(rest[:n])
		rest = rest[n:]
	}
	signed, err := g.Finish(fixed)
	if err != nil {
		t.Fatal(err)
	}
	if signed.Unsigned != "" {
		t.Fatalf("not signed: %s", signed.Unsigned)
	}
	var out strings.Builder
	for _, value := range signed.Fields {
		out.WriteString(fieldName + ":" + value + "\r\n")
	}
	return out.String() + message
}

// verify has go-msgauth check a message: it must have as many good signatures as wanted.
func verify(t testing.TB, s *Signer, message string, want int) {
	t.Helper()
	records := map[string]string{}
	for _, key := range s.Keys() {
		records[key.RecordName()] = key.Record()
	}
	verifications, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			if record, ok := records[name]; ok {
				return []string{record}, nil
			}
			return nil, fmt.Errorf("no record for %s", name)
		},
		MaxVerifications: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(verifications) != want {
		t.Errorf("%d signatures, want %d", len(verifications), want)
	}
	for _, v := range verifications {
		if v.Err != nil {
			t.Errorf("signature of %s: %v\n%s", v.Domain, v.Err, clip(message))
		}
	}
}

func clip(text string) string { return text[:min(len(text), 3000)] }

const plain = "From: Anna <anna@example.com>\r\nTo: bob@example.net,\r\n\tcarl@example.net\r\nSubject:  two  spaces\r\n" +
	"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nReceived: from x\r\n\r\nHello  you\t\r\n\r\nlast line \r\n\r\n\r\n"

func TestSignaturesVerify(t *testing.T) {
	dir := keyDir(t, "example.com")
	messages := map[string]string{
		"plain":           plain,
		"empty body":      "From: a@example.com\r\n\r\n",
		"only blank":      "From: a@example.com\r\n\r\n\r\n\r\n\r\n",
		"no last CRLF":    "From: a@example.com\r\n\r\nline\r\nlast",
		"space at ends":   "From: a@example.com\r\n\r\n  x  \r\n\t\r\n \r\ny\t \t\r\n \r\n",
		"several To":      "To: 1@x\r\nFrom: a@example.com\r\nTo: 2@x\r\nTo: 3@x\r\n\r\nx\r\n",
		"300 headers":     strings.Repeat("X-A: b\r\nTo: a@x\r\n", 150) + "From: a@example.com\r\n\r\nx\r\n",
		"8 bit":           "From: =?utf-8?q?J=C3=BCrgen?= <a@example.com>\r\nSubject: \xe4\xf6\r\n\r\n\xff\xfe gr\xfc\xdfe\r\n",
		"dots":            "From: a@example.com\r\n\r\n.\r\n..\r\n.x\r\n",
		"empty header":    "Subject:\r\nFrom:a@example.com\r\n\r\nx\r\n",
		"blank in header": "Subject: \r\n \r\nFrom: a@example.com\r\n\r\nx\r\n",
	}
	for _, canonicalization := range []string{"relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"} {
		o := testOptions(dir)
		o.Canonicalization = canonicalization
		o.Identity, o.Expire = "@{domain}", 100*365*24*time.Hour
		s := newSigner(t, o)
		for name, message := range messages {
			for _, chunk := range []int{1, 3, 65535} {
				t.Run(fmt.Sprintf("%s/%s/%d", canonicalization, name, chunk), func(t *testing.T) {
					verify(t, s, signMessage(t, s, message, chunk), 2)
				})
			}
		}
	}
}
