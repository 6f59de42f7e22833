package diagnose

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// FuzzStrangers: whatever DNS, a server or a file says, reading it ends, and what is shown of it is bounded.
func FuzzStrangers(f *testing.F) {
	for _, seed := range []string{"v=DKIM1; k=rsa; p=AAAA; p=", "v=spf1 include:%{i}._spf.test a/24 mx:x redirect=y", "{unix:a, default_action=accept} inet:b:1",
		"{} {,} default_action=, smtp inet n - y - - smtpd -o smtpd_milters={}", "250-mx [203.0.113.7]", `a\\b\\200\\`, "smtp/unix/x = y\nsmtp unix - - n - - smtp", "::ffff:1.2.3.4 !10.0.0.0/8 texthash:/x", "9999999999999999999d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, _ := tags(text)
		for name := range values {
			if name != strings.ToLower(name) {
				t.Errorf("tag %q", name)
			}
		}
		for _, word := range words(text) {
			if word == "" {
				t.Error("an empty word")
			}
		}
		_, _ = trusted(text)
		_ = SeenAddress([]string{text})
		_ = proposeSPF(text, []netip.Addr{netip.MustParseAddr("192.0.2.1")})
		_ = postfixTime(text)
		_ = readPolicy([]byte(text))
		postfix, err := ParsePostfix("mail_version = 3.7.11\n"+text, text, text)
		if err != nil {
			t.Fatal(err)
		}
		facts := &Facts{Postfix: postfix, Milter: []string{"unix:/x"}}
		for _, s := range postfix.Run("smtpd") {
			_ = facts.wired(s)
		}
		p := fleet.Part{Seen: text, Evidence: strings.Split(text, "\n"), Mend: strings.Split(text, " ")}
		bound(&p)
		if len(p.Seen) > mostText+len("…") || len(p.Evidence) > mostLines+1 || len(p.Mend) > mostLines+1 {
			t.Errorf("%d bytes, %d lines", len(p.Seen), len(p.Evidence))
		}
	})
}
