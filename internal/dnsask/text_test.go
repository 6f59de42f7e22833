package dnsask

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// FuzzText: whatever a text holds, it comes back from the wire and from a zone file as it was, and nothing in its zone form ends
// the string or acts in a terminal.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "v=spf1 -all", `a\b"c`, "\x1b[31m\x00\xff", strings.Repeat(`\`, 256), `\200`, "x\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4000 {
			return
		}
		quoted := Quote(text)
		if strings.ContainsFunc(quoted, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q", quoted)
		}
		rr, err := dns.NewRR("x. TXT " + quoted)
		if err != nil {
			t.Fatal(err)
		}
		message := new(dns.Msg)
		message.Answer = []dns.RR{rr, &dns.TXT{Hdr: *rr.Header(), Txt: Strings(text)}}
		wire, err := message.Pack()
		if err != nil {
			t.Fatal(err)
		}
		back := new(dns.Msg)
		if err := back.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		for _, one := range back.Answer {
			if got := Text(one.(*dns.TXT)); got != text {
				t.Errorf("%q comes back as %q", text, got)
			}
		}
	})
}

func TestStrings(t *testing.T) {
	for length, want := range map[int]int{0: 1, 255: 1, 256: 2, 510: 2, 511: 3} {
		if got := len(Strings(strings.Repeat("x", length))); got != want {
			t.Errorf("%d bytes: %d strings, expected %d", length, got, want)
		}
	}
}

func TestVersioned(t *testing.T) {
	texts := []string{"v=DMARC1", "v=DMARC1; p=none", " v = DMARC1 ;p=none", "v=DMARC10; p=none", "p=none; v=DMARC1", "v=dmarc1; p=none", "V=DMARC1", "", "hello"}
	if diff := cmp.Diff(texts[:3], Versioned(texts, "v=DMARC1")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCut(t *testing.T) {
	long := strings.Repeat("a", 300)
	answer := &Answer{Type: dns.TypeTXT, Records: records(t, `x. TXT "a" "b\"\\"`, `x. TXT "whole\""`, `x. TXT "`+long[:255]+`" "`+long[255:]+`"`)}
	for text, want := range map[string][]string{`ab"\`: {"a", `b"\`}, `whole"`: nil, long: nil, "none": nil} {
		if diff := cmp.Diff(want, answer.Cut(text)); diff != "" {
			t.Errorf("%.20s (-want +got):\n%s", text, diff)
		}
	}
	if got := QuoteCut([]string{"a", "b\"\n"}); got != `"a" "b\"\010"` {
		t.Error(got)
	}
}
