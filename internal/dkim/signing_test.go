package dkim

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
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

// verifications are go-msgauth's.
func verifications(t testing.TB, s *Signer, message string) []*dkim.Verification {
	t.Helper()
	records := map[string]string{}
	for _, key := range s.Keys() {
		records[key.RecordName()] = key.Record()
	}
	found, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{
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
	return found
}

// verify has go-msgauth check a message: it must have as many signatures as wanted, all good.
func verify(t testing.TB, s *Signer, message string, want int) {
	t.Helper()
	found := verifications(t, s, message)
	if len(found) != want {
		t.Errorf("%d signatures, want %d", len(found), want)
	}
	for _, v := range found {
		if v.Err != nil {
			t.Errorf("signature of %s: %v\n%s", v.Domain, v.Err, clip(message))
		}
	}
}

// goodSignatures counts the signatures that verify.
func goodSignatures(t testing.TB, s *Signer, message string) (good int) {
	t.Helper()
	for _, v := range verifications(t, s, message) {
		if v.Err == nil {
			good++
		}
	}
	return good
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

func TestUnsigned(t *testing.T) {
	dir := keyDir(t, "example.com")
	tests := map[string]struct {
		header [][2]string
		change func(o *Options)
		want   fleet.Signed
	}{
		"no From": {[][2]string{{"Subject", " x"}}, func(*Options) {}, fleet.Signed{Unsigned: "no From header"}},
		"no From, refused": {[][2]string{{"Subject", " x"}}, func(o *Options) { o.OnBadFrom = Reject },
			fleet.Signed{Unsigned: "no From header", Refuse: fleet.VerdictRejected, Reply: "550 5.6.0 Message refused: no From header"}},
		"not a signing domain": {[][2]string{{"From", " a@other.example"}}, func(o *Options) { o.OnBadFrom = Reject },
			fleet.Signed{Unsigned: "other.example is not a signing domain"}},
		"no key": {[][2]string{{"From", " a@other.example"}}, func(o *Options) { o.Domains = []string{"*"} },
			fleet.Signed{Unsigned: "no key to sign for other.example", Refuse: fleet.VerdictTempfail,
				Reply: "451 4.7.5 Message can't be signed at the moment, try again later"}},
		"no key, let through": {[][2]string{{"From", " a@other.example"}},
			func(o *Options) { o.Domains, o.OnMissingKey = []string{"*"}, Accept },
			fleet.Signed{Unsigned: "no key to sign for other.example"}},
		"a header without an end": {[][2]string{{"From", " a@example.com"}, {"Subject", strings.Repeat("x", maxHeaders)}}, func(*Options) {},
			fleet.Signed{Unsigned: "header fields too large to sign", Refuse: fleet.VerdictRejected,
				Reply: "552 5.3.4 Message header too large to be signed"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := testOptions(dir)
			test.change(&o)
			g := newSigner(t, o).Begin(fixed)
			for _, field := range test.header {
				g.Header(field[0], field[1])
			}
			g.Body([]byte("x\r\n"))
			got, err := g.Finish(fixed)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// refusing is a key that fails.
type refusing struct{ crypto.Signer }

func (refusing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("token removed")
}

func TestKeyThatFails(t *testing.T) {
	s := newSigner(t, testOptions(keyDir(t, "example.com")))
	finish := func() (fleet.Signed, error) {
		g := s.Begin(fixed)
		g.Header("From", " a@example.com")
		return g.Finish(fixed)
	}
	keys := s.Keys()
	keys[0].signer = refusing{}
	if got, err := finish(); err == nil || len(got.Signatures) != 1 || got.Refuse != "" {
		t.Errorf("one of two keys fails: %+v, %v", got, err)
	}
	keys[1].signer = refusing{}
	if got, err := finish(); err == nil || got.Refuse != fleet.VerdictTempfail || got.Unsigned == "" {
		t.Errorf("both keys fail: %+v, %v", got, err)
	}
}

// TestOversigning: h= names every instance, and one more where it is asked for; but not one for an absent field that servers
// on the way add.
func TestOversigning(t *testing.T) {
	o := testOptions(keyDir(t, "example.com"))
	o.Headers = []string{"From", "To", "Date", "Comments"}
	o.Oversign = []string{"from", "Reply-To", "Date", "Message-ID"}
	s := newSigner(t, o)
	tests := map[string]struct{ message, want string }{
		"absent":  {"From: a@example.com\r\n\r\n", "From:From:Reply-To"},
		"present": {"Date: x\r\nFrom: a@example.com\r\nMESSAGE-ID: <1>\r\n\r\n", "From:From:Date:Date:Reply-To:Message-ID:Message-ID"},
		"several": {"To: 1\r\nTo: 2\r\nFrom: a@example.com\r\nComments: x\r\n\r\n", "From:From:To:To:Comments:Reply-To"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			signed := signMessage(t, s, test.message, 10)
			got := regexp.MustCompile(`h=([^;]*);`).FindStringSubmatch(strings.ReplaceAll(signed, "\r\n\t", ""))[1]
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			verify(t, s, signed, 2)
			if added := "Reply-To: evil@example.net\r\n" + signed; goodSignatures(t, s, added) != 0 {
				t.Error("a Reply-To that was added doesn't break the signature")
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	tests := map[string]struct {
		change func(o *Options)
		want   string
	}{
		"canonicalisation":   {func(o *Options) { o.Canonicalization = "nofws/relaxed" }, "expected relaxed or simple"},
		"half of it":         {func(o *Options) { o.Canonicalization = "relaxed" }, "expected relaxed or simple"},
		"headers":            {func(o *Options) { o.Headers, o.Oversign = []string{"To"}, nil }, "expected From among them"},
		"identity elsewhere": {func(o *Options) { o.Identity = "@example.net" }, "expected it to end in"},
		"identity, no at":    {func(o *Options) { o.Identity = "x.{domain}" }, "expected an address"},
		"identity injects":   {func(o *Options) { o.Identity = "a; l=0@{domain}" }, "expected an address"},
		"domain":             {func(o *Options) { o.Domains = []string{"a b"} }, "domains:"},
		"exclusion":          {func(o *Options) { o.Exclude = []string{""} }, "exclude:"},
		"fallback":           {func(o *Options) { o.FallbackDomain = "-" }, "fallback domain"},
		"selector":           {func(o *Options) { o.Selector = "{x}" }, "selector"},
	}
	dir := keyDir(t, "example.com")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := testOptions(dir)
			test.change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// FuzzSigning: whatever the header and the body are, the signature verifies.
func FuzzSigning(f *testing.F) {
	s := newSigner(f, testOptions(keyDir(f, "example.com")))
	s.profile.lineLimit = 0 // Postfix breaks long lines; here nothing does
	f.Add("Subject", " a\n\tb ", "x\r\n")
	f.Add("To", "\t", " \r\n\r\n")
	f.Add("Date", "", "")
	f.Fuzz(func(t *testing.T, name, value, body string) {
		if !sendable(name, value, body) {
			t.Skip()
		}
		g := s.Begin(fixed)
		g.Header("From", " a@example.com")
		g.Header(name, value)
		g.Body([]byte(body))
		signed, err := g.Finish(fixed)
		if err != nil {
			t.Fatal(err)
		}
		if signed.Unsigned != "" {
			t.Skip() // a second From
		}
		message := fieldName + ":" + signed.Fields[1] + "\r\nFrom: a@example.com\r\n" + name + ":" + withCRLF(value) + "\r\n\r\n" + body
		verify(t, s, message, 1)
	})
}

// sendable tells whether Postfix would show a message like this to a milter, and go-msgauth can read it.
func sendable(name, value, body string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	for line := range strings.SplitSeq(value, "\n") {
		if strings.TrimSpace(line) != line && strings.TrimSpace(line) == "" {
			return false
		}
	}
	folds := strings.Count(value, "\n") - strings.Count(value, "\n ") - strings.Count(value, "\n\t")
	return name != "" && folds == 0 && !strings.ContainsAny(value, "\r\x00") &&
		!strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\r")
}
