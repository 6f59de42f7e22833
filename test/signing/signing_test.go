package signing

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/milter"
	"github.com/postfleet/postfleet/test/lab"
)

// site is a Postfix instance with the milter, and a sink behind it.
type site struct {
	postfix *lab.Postfix
	milter  *milter.Server
	sink    *sink
	keys    string
	sent    int
}

// domains that have keys. The last one is bücher.example.
var domains = []string{"example.com", "site.fleet.example", "xn--bcher-kva.example"}

func startSite(t *testing.T, main map[string]string) *site {
	t.Helper()
	for _, program := range []string{"opendkim", "postfix"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: %s is not installed", program)
		}
	}
	l := lab.ForTest(t)
	s := &site{sink: startSink(t), keys: t.TempDir()}
	for _, domain := range domains {
		for _, kind := range []string{dkim.RSA, dkim.Ed25519} {
			if _, err := dkim.Generate(s.keys, domain, "node1", kind, dkim.MinBits); err != nil {
				t.Fatal(err)
			}
		}
	}
	socket := l.MilterSocket("site")
	if _, err := l.Mkdir("node-site"); err != nil {
		t.Fatal(err)
	}
	var err error
	s.milter, err = milter.New(milter.Options{Listen: []milter.Listen{{Network: "unix", Address: socket, Mode: 0o660, Group: "postfix"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.milter.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.milter.Shutdown(ctx)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.postfix, err = l.StartPostfix(ctx, lab.PostfixOptions{Name: "site", Milter: "unix:" + socket,
		Routes: map[string]string{"sink.example": s.sink.addr}, Main: main})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// options are those of the configuration's defaults.
func (s *site) options() dkim.Options {
	defaults := config.DefaultMilter().DKIM
	return dkim.Options{KeysDir: s.keys, Node: "node1", Selector: defaults.Selector, Headers: defaults.Headers,
		Oversign: defaults.Oversign, Canonicalization: defaults.Canonicalization, OnMissingKey: defaults.OnMissingKey,
		OnBadFrom: defaults.OnBadFrom, LineLimit: dkim.DefaultLineLimit}
}

// sign makes the milter sign.
func (s *site) sign(t *testing.T, o dkim.Options) *dkim.Signer {
	t.Helper()
	signer, err := dkim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.milter.Reload(milter.Policy{
		Sign:     func(now time.Time) milter.Signing { return signer.Begin(now) },
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/9")},
	})
	return signer
}

// send sends a letter and gives what arrived at the sink.
func (s *site) send(t *testing.T, l letter) func() []byte {
	t.Helper()
	s.sent++
	to := fmt.Sprintf("m%d@sink.example", s.sent)
	if l.sendmail {
		cmd := exec.Command("/usr/sbin/sendmail", "-C", s.postfix.Conf, "-i", "-f", "anna@example.com", to)
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(l.content, "\r\n", "\n"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("sendmail: %v: %s", err, out)
		}
		return func() []byte { return s.sink.wait(t, to) }
	}
	from := l.from
	if from == "" {
		from = "127.0.0.2"
	}
	c := connect(t, s.postfix.Addr, from)
	if l.utf8 {
		c.command(250, "MAIL FROM:<jürgen@bücher.example> BODY=8BITMIME SMTPUTF8")
	} else {
		c.command(250, "MAIL FROM:<anna@example.com> BODY=8BITMIME")
	}
	c.command(250, "RCPT TO:<%s>", to)
	if l.chunk > 0 {
		c.chunks([]byte(l.content), l.chunk)
	} else {
		c.data([]byte(l.content))
	}
	c.quit()
	return func() []byte { return s.sink.wait(t, to) }
}

// oddSpace finds a signed header whose value doesn't begin with exactly one space.
var oddSpace = regexp.MustCompile(`(?m)^Subject:([^ ]|$|  |\t)`)

func TestSignaturesSurvivePostfix(t *testing.T) {
	s := startSite(t, nil)
	letters := corpus()
	for _, canonicalization := range []string{"relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"} {
		t.Run(canonicalization, func(t *testing.T) {
			o := s.options()
			o.Canonicalization = canonicalization
			signer := s.sign(t, o)
			pending := map[string]func() []byte{}
			for _, name := range slices.Sorted(maps.Keys(letters)) {
				if letters[name].relaxedHeader != "" && strings.HasPrefix(canonicalization, "simple") {
					continue
				}
				pending[name] = s.send(t, letters[name])
			}
			if canonicalization == "relaxed/relaxed" {
				pending["20 MB"] = s.send(t, letter{content: top + "\r\n" + strings.Repeat(words(70)+"\r\n", 20<<20/72)})
			}
			arrived := map[string][]byte{}
			for name, wait := range pending {
				arrived[name] = wait()
			}
			newVerifiers(t, signer.Keys()).check(t, arrived, func(name string) bool {
				// opendkim -t eats the first space of a header value and gives back one, which only relaxed forgives.
				return letters[name].openDKIM != "" ||
					strings.HasPrefix(canonicalization, "simple") && oddSpace.MatchString(letters[name].content)
			})
			for name, message := range arrived {
				if !bytes.HasPrefix(message, []byte("DKIM-Signature: v=1; a=rsa-sha256;")) {
					t.Errorf("%s: the RSA signature is not on top: %.60q", name, message)
				}
			}
		})
	}
}

// TestLineLimits: where Postfix breaks lines elsewhere, or nowhere, and the signer is told, signatures hold as well.
func TestLineLimits(t *testing.T) {
	for _, limit := range []int{0, 100} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			s := startSite(t, map[string]string{"smtp_line_length_limit": strconv.Itoa(limit)})
			o := s.options()
			o.LineLimit = limit
			signer := s.sign(t, o)
			arrived := map[string][]byte{}
			for name, l := range corpus() {
				if strings.Contains(name, "line") || strings.Contains(name, "long") || strings.Contains(name, "break") {
					arrived[name] = s.send(t, l)()
				}
			}
			newVerifiers(t, signer.Keys()).check(t, arrived, func(string) bool {
				return limit == 0 // opendkim -t cuts long lines itself
			})
		})
	}
}

// TestWhatPostfixAnswers: what can't be signed is answered as the policy says, and reaches the client through Postfix.
func TestWhatPostfixAnswers(t *testing.T) {
	s := startSite(t, nil)
	tests := map[string]struct {
		content string
		options func(o *dkim.Options)
		code    int
		reply   string
	}{
		"no key": {"From: a@nokey.example\r\n\r\nx\r\n", func(o *dkim.Options) { o.Domains = []string{"*"} },
			451, "4.7.5 Message can't be signed at the moment, try again later"},
		"no key, let through": {"From: a@nokey.example\r\n\r\nx\r\n", func(o *dkim.Options) {
			o.Domains, o.OnMissingKey = []string{"*"}, dkim.Accept
		}, 250, "2.0.0 Ok"},
		"two From": {"From: a@example.com\r\nFrom: b@example.com\r\n\r\nx\r\n", func(o *dkim.Options) { o.OnBadFrom = dkim.Reject },
			550, "5.6.0 Message refused: several From headers"},
		"no From":              {"Subject: x\r\n\r\nx\r\n", func(o *dkim.Options) { o.OnBadFrom = dkim.Reject }, 550, "no From header"},
		"no From, let through": {"Subject: x\r\n\r\nx\r\n", func(*dkim.Options) {}, 250, "2.0.0 Ok"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := s.options()
			test.options(&o)
			s.sign(t, o)
			c := connect(t, s.postfix.Addr, "127.0.0.2")
			c.command(250, "MAIL FROM:<anna@example.com>")
			c.command(250, "RCPT TO:<r@sink.example>")
			c.command(354, "DATA")
			got := c.command(test.code, "%s.", test.content)
			if !strings.Contains(got, test.reply) {
				t.Errorf("answer %q, want %q", got, test.reply)
			}
			c.quit()
		})
	}
}
