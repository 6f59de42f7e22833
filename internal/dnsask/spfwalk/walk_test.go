package spfwalk

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
)

// zone answers from lines of a zone file; names that begin with "broken" get no answer.
type zone map[string][]dns.RR

func (z zone) Lookup(_ context.Context, name string, kind uint16) (*dnsask.Answer, error) {
	if strings.HasPrefix(name, "broken") {
		return nil, &dnsask.Untold{Name: name, Type: kind, Reason: dnsask.Failed}
	}
	answer := &dnsask.Answer{Name: name, Type: kind}
	for _, rr := range z[dns.CanonicalName(name)] {
		if rr.Header().Rrtype == kind {
			answer.Records = append(answer.Records, rr)
		}
	}
	return answer, nil
}

func read(t *testing.T, text string) zone {
	t.Helper()
	z := zone{}
	parser := dns.NewZoneParser(strings.NewReader(text), ".", "")
	parser.SetDefaultTTL(60)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		name := dns.CanonicalName(rr.Header().Name)
		z[name] = append(z[name], rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	return z
}

const names = `h. A 192.0.2.10
six. AAAA 2001:db8::10
both. A 192.0.2.11
both. AAAA 2001:db8::11
m. MX 10 h.
m. MX 20 six.
nomail. MX 0 .
many. MX 1 h1.
many. MX 1 h2.
many. MX 1 h3.
many. MX 1 h4.
many. MX 1 h5.
many. MX 1 h6.
many. MX 1 h7.
many. MX 1 h8.
many. MX 1 h9.
many. MX 1 h10.
many. MX 1 h11.
all. TXT "v=spf1 +all"
wide. TXT "v=spf1 ip6:::/0 -all"
on. TXT "v=spf1 include:all"
to. TXT "v=spf1 redirect=all"
fine. TXT "v=spf1 ip4:198.51.100.0/24 -all"
none. TXT "something"
nested. TXT "v=spf1 include:fine -all"
without. TXT "v=spf1 -ip4:203.0.113.1 ?ip4:203.0.113.2 ip4:203.0.113.0/24 -all"
late. TXT "v=spf1 -all ipv4:192.0.2.1"
two. TXT "v=spf1 -all"
two. TXT "v=spf1 ~all"
loop. TXT "v=spf1 include:loop"
`

func TestWalk(t *testing.T) {
	type found struct {
		Lookups, Void              int
		Passes, Unclear, Open      string
		All, AllIn, Broken, Untold string
		Pointer                    bool
	}
	for _, c := range []struct {
		record   string
		families []uint16
		want     found
	}{
		{"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::1 -all", nil, found{Passes: "192.0.2.0/24 2001:db8::1/128", All: "-all", AllIn: "x"}},
		{"v=spf1 -ip4:192.0.2.1 ?ip4:192.0.2.2 ~ip4:192.0.2.3 ~all", nil, found{All: "~all", AllIn: "x"}},
		{"v=spf1 a:h a:both//64 mx:m/24 ?all", nil, found{Lookups: 3, Passes: "192.0.2.10/32 192.0.2.11/32 2001:db8::/64 192.0.2.0/24 2001:db8::10/128", All: "?all", AllIn: "x"}},
		{"v=spf1 a:six a:both", []uint16{dns.TypeA}, found{Lookups: 2, Void: 1, Passes: "192.0.2.11/32"}},
		{"v=spf1 a:six a:h a:void", []uint16{dns.TypeAAAA}, found{Lookups: 3, Void: 2, Passes: "2001:db8::10/128"}},
		{"v=spf1 a:six a:h a:void mx:void mx:nomail", nil, found{Lookups: 5, Void: 2, Passes: "2001:db8::10/128 192.0.2.10/32"}},
		{"v=spf1 mx:many", nil, found{Lookups: 1, Broken: "many has more than ten MX records"}},
		{"v=spf1 a/33 a//129 a:h/x mx/ ip4:1 ip4:2001:db8::1 ip6:192.0.2.1 ip4", nil, found{Lookups: 4, Broken: "x has a/33, whose prefix length is wrong; x has a//129, whose prefix length is wrong; " +
			"x has a:h/x, whose prefix length is wrong; x has mx/, whose prefix length is wrong; x has ip4:1, which is no address; x has ip4:2001:db8::1, which is no address; " +
			"x has ip6:192.0.2.1, which is no address; x has ip4, which is no address"}},
		{"v=spf1 include exists: redirect=", nil, found{Lookups: 3, Broken: "x has include, which names no domain; x has exists:, which names no domain; x has redirect=, which names no domain"}},
		{"v=spf1 ipv4:192.0.2.1 exp=why.x later=1 -all", nil, found{All: "-all", AllIn: "x", Broken: "x has the unknown term ipv4:192.0.2.1"}},
		{"v=spf1 include:%{d}.y a:%{i}.y exists:%{i}.y ptr ptr:y", nil, found{Lookups: 5, Unclear: "include:%{d}.y a:%{i}.y exists:%{i}.y ptr ptr:y", Pointer: true}},
		{"v=spf1 include:fine include:none include:two include:void", nil, found{Lookups: 4, Void: 1, Passes: "198.51.100.0/24",
			Broken: "none has no SPF record, which makes include:none an error; two has several SPF records; void has no SPF record, which makes include:void an error"}},
		{"v=spf1 -include:fine ?include:fine", nil, found{Lookups: 2}},
		{"v=spf1 include:broken a:broken mx:broken exists:broken", []uint16{dns.TypeA}, found{Lookups: 4, Untold: "TXT A MX A"}},
		{"v=spf1 redirect=fine", nil, found{Lookups: 1, Passes: "198.51.100.0/24", All: "-all", AllIn: "fine"}},
		{"v=spf1 redirect=fine ~all ip4:192.0.2.1", nil, found{All: "~all", AllIn: "x"}},
		{"v=spf1 ~all junk", nil, found{All: "~all", AllIn: "x", Broken: "x has the unknown term junk"}},
		{"v=spf1 include:late -all", nil, found{Lookups: 1, All: "-all", AllIn: "x", Broken: "late has the unknown term ipv4:192.0.2.1"}},
		{"v=spf1 redirect=fine exp=y redirect=fine -all exp=y", nil, found{All: "-all", AllIn: "x", Broken: "x has redirect more than once; x has exp more than once"}},
		{"v=spf1 include:loop", nil, found{Lookups: 13, Broken: "its includes are nested without end"}},
		{"v=spf1" + strings.Repeat(" a:h", 100), nil, found{Lookups: 41, Passes: strings.TrimSpace(strings.Repeat(" 192.0.2.10/32", 41)), Broken: "more than 40 look-ups"}},

		{"v=spf1 +all", nil, found{All: "+all", AllIn: "x", Open: "x: +all"}},
		{"v=spf1 ALL", nil, found{All: "ALL", AllIn: "x", Open: "x: ALL"}},
		{"v=spf1 -all +all", nil, found{All: "-all", AllIn: "x"}},
		{"v=spf1 include:all -all", nil, found{Lookups: 1, All: "-all", AllIn: "x", Open: "all: +all"}},
		{"v=spf1 include:on -all", nil, found{Lookups: 2, All: "-all", AllIn: "x", Open: "all: +all"}},
		{"v=spf1 include:to -all", nil, found{Lookups: 2, All: "-all", AllIn: "x", Open: "all: +all"}},
		{"v=spf1 redirect=to", nil, found{Lookups: 2, All: "+all", AllIn: "all", Open: "all: +all"}},
		{"v=spf1 ?include:on -include:all -all", nil, found{Lookups: 3, All: "-all", AllIn: "x"}},
		{"v=spf1 include:wide ip4:0.0.0.0/0 -all", nil, found{Lookups: 1, Passes: "::/0 0.0.0.0/0", All: "-all", AllIn: "x", Open: "wide: ip6:::/0, x: ip4:0.0.0.0/0"}},
		{"v=spf1 a:h/0 exists:h -all", nil, found{Lookups: 2, Passes: "0.0.0.0/0", All: "-all", AllIn: "x", Open: "x: a:h/0, x: exists:h"}},
		{"v=spf1 -exists:h exists:void -all", nil, found{Lookups: 2, Void: 1, All: "-all", AllIn: "x"}},
	} {
		t.Run(c.record[:min(len(c.record), 60)], func(t *testing.T) {
			families := c.families
			if families == nil {
				families = []uint16{dns.TypeA, dns.TypeAAAA}
			}
			w := Of(t.Context(), read(t, names), "x", c.record, families...)
			got := found{Lookups: len(w.Lookups), Void: len(w.Void), Unclear: strings.Join(w.Unclear, " "), Open: strings.Join(w.Open, ", "), All: w.All, AllIn: w.AllIn,
				Broken: strings.Join(w.Broken, "; "), Pointer: w.Pointer}
			var passes, untold []string
			for _, p := range w.Passes {
				passes = append(passes, p.String())
			}
			for _, err := range w.Untold {
				var why *dnsask.Untold
				if !errors.As(err, &why) {
					t.Fatal(err)
				}
				untold = append(untold, dns.TypeToString[why.Type])
			}
			got.Passes, got.Untold = strings.Join(passes, " "), strings.Join(untold, " ")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An address passes by the first term that it matches, as for a receiver.
func TestCovers(t *testing.T) {
	for _, c := range []struct {
		record string
		passes map[string]bool
	}{
		{"include:fine -all", map[string]bool{"198.51.100.7": true, "198.51.101.7": false, "2001:db8::1": false}},
		{"-ip4:192.0.2.10 ip4:192.0.2.0/24 -all", map[string]bool{"192.0.2.10": false, "192.0.2.11": true}},
		{"ip4:192.0.2.0/24 -ip4:192.0.2.10 -all", map[string]bool{"192.0.2.10": true}},
		{"?a:h ip4:192.0.2.0/24 -all", map[string]bool{"192.0.2.10": false, "192.0.2.11": true}},
		{"~include:fine ip4:198.51.0.0/16 ip6:2001:db8::/32 -all", map[string]bool{"198.51.100.7": false, "198.51.101.7": true, "2001:db8::1": true}},
		{"-include:nested ip4:198.51.0.0/16 -all", map[string]bool{"198.51.100.7": false, "198.51.101.7": true}},
		{"include:without ip4:203.0.113.2 -all", map[string]bool{"203.0.113.1": false, "203.0.113.2": true, "203.0.113.3": true}},
		{"-ip4:203.0.113.3 include:without -all", map[string]bool{"203.0.113.3": false, "203.0.113.4": true}},
		{"-ip4:198.51.100.7 redirect=fine", map[string]bool{"198.51.100.7": false, "198.51.100.8": true}},
	} {
		w := Of(t.Context(), read(t, names), "x", "v=spf1 "+c.record, dns.TypeA)
		for addr, want := range c.passes {
			if got := w.Covers(netip.MustParseAddr(addr)); got != want {
				t.Errorf("%s, %s: %v", c.record, addr, got)
			}
		}
	}
}

// FuzzWalk: whatever a record says, a walk ends soon after the limits, and an open record is one that somebody could send by.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{"v=spf1 include:loop a:h/24//64 mx:many redirect=all", "v=spf1 +", "v=spf1 :/= -/ ip4:/ a/0//0 exists:h", "include:%"} {
		f.Add(seed)
	}
	z := zone{}
	parser := dns.NewZoneParser(strings.NewReader(names), ".", "")
	parser.SetDefaultTTL(60)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		z[rr.Header().Name] = append(z[rr.Header().Name], rr)
	}
	f.Fuzz(func(t *testing.T, record string) {
		w := Of(t.Context(), z, "x", record, dns.TypeA, dns.TypeAAAA)
		if len(w.Lookups) > walkLookups+1 {
			t.Errorf("%d look-ups", len(w.Lookups))
		}
		if slices.ContainsFunc(w.Passes, func(p netip.Prefix) bool { return !p.IsValid() }) {
			t.Errorf("passes %v", w.Passes)
		}
	})
}
