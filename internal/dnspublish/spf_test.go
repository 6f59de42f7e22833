package dnspublish

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

func planner(t *testing.T, zone string) *Planner {
	t.Helper()
	resolver, _ := serve(t, zone)
	return &Planner{Resolver: resolver, Now: func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) },
		Compare: func(want string, texts []string) (fleet.KeyRecord, string) {
			switch {
			case len(texts) == 0:
				return fleet.RecordAbsent, ""
			case texts[0] == want:
				return fleet.RecordMatches, ""
			}
			return fleet.RecordDiffers, "another key"
		}}
}

var nodes = []fleet.SendingAddress{{Node: "mx1", Address: "192.0.2.10"}, {Node: "mx2", Address: "192.0.2.11"}, {Node: "mx2", Address: "2001:db8::11"}}

func TestSPF(t *testing.T) {
	var eleven strings.Builder
	for i := range 11 {
		fmt.Fprintf(&eleven, "i%d. TXT \"v=spf1 ip4:198.51.100.%d -all\"\n", i, i)
	}
	many := "x. TXT \"v=spf1"
	for i := range 11 {
		many += fmt.Sprintf(" include:i%d", i)
	}
	for _, c := range []struct {
		name, zone     string
		status         fleet.DNSStatus
		proposed, says string
		lookups, void  int
		shorter        string
		shorterLookups int
	}{
		{name: "none", zone: `x. TXT "hello"`, status: fleet.DNSMissing, proposed: "v=spf1 ip4:192.0.2.10 ip4:192.0.2.11 ip6:2001:db8::11 ~all",
			says: "there is no SPF record", shorter: "v=spf1 ip4:192.0.2.10/31 ip6:2001:db8::11 ~all"},
		{name: "of characters that hide", zone: "x. TXT \"v=spf1 ip4:192.0.2.0/24 \\226\\128\\174 -all\"", status: fleet.DNSDiffers, says: "characters that SPF doesn't know"},
		{name: "whole", zone: `x. TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"`, status: fleet.DNSThere,
			proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"},
		{name: "one lacks", zone: `x. TXT "v=spf1 ip4:192.0.2.10 ip6:2001:db8::/32 ?all"`, status: fleet.DNSDiffers,
			proposed: "v=spf1 ip4:192.0.2.11 ip4:192.0.2.10 ip6:2001:db8::/32 ?all", says: "mail from mx2 (192.0.2.11)",
			shorter: "v=spf1 ip4:192.0.2.10/31 ip6:2001:db8::/32 ?all"},
		{name: "a fail in front doesn't cover", zone: `x. TXT "v=spf1 -ip4:192.0.2.10 ip4:192.0.2.11 ip6:2001:db8::11 -all"`, status: fleet.DNSDiffers,
			proposed: "v=spf1 ip4:192.0.2.10 -ip4:192.0.2.10 ip4:192.0.2.11 ip6:2001:db8::11 -all"},
		{name: "a fail in front of a network", zone: `x. TXT "v=spf1 -ip4:192.0.2.10 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"`, status: fleet.DNSDiffers, says: "mail from mx1 (192.0.2.10)",
			proposed: "v=spf1 ip4:192.0.2.10 -ip4:192.0.2.10 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"},
		{name: "shorter, and what a term takes out stays out", zone: `x. TXT "v=spf1 ip4:192.0.2.10 ip4:192.0.2.10 -ip4:192.0.2.5 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip4:192.0.2.7 -all"`,
			status: fleet.DNSThere, proposed: "v=spf1 ip4:192.0.2.10 ip4:192.0.2.10 -ip4:192.0.2.5 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip4:192.0.2.7 -all",
			shorter: "v=spf1 ip4:192.0.2.10 -ip4:192.0.2.5 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"},
		{name: "through include, a, mx and redirect", zone: "x. TXT \"v=spf1 include:y redirect=z\"\ny. TXT \"v=spf1 a:h -all\"\nh. A 192.0.2.10\nz. TXT \"v=spf1 mx:m//64 -all\"\n" +
			"m. MX 5 h2.\nh2. A 192.0.2.11\nh2. AAAA 2001:db8::1", status: fleet.DNSThere, proposed: "v=spf1 include:y redirect=z", lookups: 4},
		{name: "a include that fails isn't a pass", zone: "x. TXT \"v=spf1 -include:y ip4:192.0.2.11 ip6:2001:db8::/32 -all\"\ny. TXT \"v=spf1 ip4:192.0.2.10 -all\"", status: fleet.DNSDiffers,
			proposed: "v=spf1 ip4:192.0.2.10 -include:y ip4:192.0.2.11 ip6:2001:db8::/32 -all", lookups: 1},
		{name: "an include that takes some out is never replaced by its addresses", zone: "x. TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y a:n1 a:n2 a:n3 -all\"\n" +
			"y. TXT \"v=spf1 -ip4:198.51.100.1 ip4:198.51.100.0/24 -all\"", status: fleet.DNSDiffers, lookups: 4, void: 3,
			proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y a:n1 a:n2 a:n3 -all", says: "find nothing"},
		{name: "eleven look-ups", zone: many + " ip4:192.0.2.0/24 ip6:2001:db8::/32 -all\"\n" + eleven.String(), status: fleet.DNSDiffers, lookups: 11,
			proposed: strings.TrimSuffix(strings.TrimPrefix(many, `x. TXT "`), "") + " ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", says: "it takes 11 look-ups",
			shorter: "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/29 ip4:198.51.100.8/31 ip4:198.51.100.10 ip6:2001:db8::/32 -all"},
		{name: "void look-ups", zone: `x. TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 a:n1 a:n2 a:n3 -all"`, status: fleet.DNSDiffers, lookups: 3, void: 3,
			proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 a:n1 a:n2 a:n3 -all", says: "3 of its look-ups find nothing"},
		{name: "everybody", zone: `x. TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 +all"`, status: fleet.DNSDiffers,
			proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 +all", says: "the whole world"},
		{name: "everybody, by an include", zone: "x. TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y -all\"\ny. TXT \"v=spf1 +all\"",
			status: fleet.DNSDiffers, proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y -all", lookups: 1, says: "the whole world may send for the domain, by y: +all"},
		{name: "everybody, by a redirect of an include", zone: "x. TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y -all\"\ny. TXT \"v=spf1 redirect=z\"\nz. TXT \"v=spf1 ip4:0.0.0.0/0\"",
			status: fleet.DNSDiffers, proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y -all", lookups: 2, says: "by z: ip4:0.0.0.0/0"},
		{name: "everybody of an include that lets nothing pass", zone: "x. TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?include:y -all\"\ny. TXT \"v=spf1 +all\"",
			status: fleet.DNSThere, proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?include:y -all", lookups: 1},
		{name: "several", zone: "x. TXT \"v=spf1 -all\"\nx. TXT \"v=spf1 ?all\"", status: fleet.DNSDiffers, says: "several SPF records"},
		{name: "an include without answer", zone: `x. TXT "v=spf1 include:y.broken -all"`, status: fleet.DNSUnknown, lookups: 1,
			proposed: "v=spf1 include:y.broken -all", says: "could not tell"},
		{name: "an include without answer behind all nodes", zone: `x. TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y.broken -all"`,
			status: fleet.DNSUnknown, lookups: 1, proposed: "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:y.broken -all", says: "could not be told"},
		{name: "nothing behind all counts", zone: "x. TXT \"v=spf1 redirect=y ip6:2001:db8::/32 -all ip4:192.0.2.0/24\"\ny. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"",
			status: fleet.DNSDiffers, says: "mail from mx1 (192.0.2.10), mx2 (192.0.2.11)",
			proposed: "v=spf1 ip4:192.0.2.10 ip4:192.0.2.11 redirect=y ip6:2001:db8::/32 -all ip4:192.0.2.0/24",
			shorter:  "v=spf1 ip4:192.0.2.10/31 ip6:2001:db8::/32 redirect=y -all"},
		{name: "an include of nothing", zone: `x. TXT "v=spf1 include:y ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"`, status: fleet.DNSDiffers, lookups: 1, void: 1,
			proposed: "v=spf1 include:y ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", says: "y has no SPF record"},
		{name: "a circle", zone: `x. TXT "v=spf1 include:x ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"`, status: fleet.DNSDiffers, lookups: 13,
			proposed: "v=spf1 include:x ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", says: "nested without end"},
		{name: "by what the mail says", zone: `x. TXT "v=spf1 exists:%{i}.x -all"`, status: fleet.DNSDiffers, lookups: 1,
			proposed: "v=spf1 ip4:192.0.2.10 ip4:192.0.2.11 ip6:2001:db8::11 exists:%{i}.x -all", says: "can't be told from here",
			shorter: "v=spf1 ip4:192.0.2.10/31 ip6:2001:db8::11 exists:%{i}.x -all", shorterLookups: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, record := planner(t, c.zone).planSPF(t.Context(), "x", nodes)
			got := []any{record.Status, plan.Proposed, plan.Lookups, plan.Void, plan.Shorter, plan.ShorterLookups}
			if diff := cmp.Diff([]any{c.status, c.proposed, c.lookups, c.void, c.shorter, c.shorterLookups}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(record.Text, c.says) {
				t.Errorf("says %q", record.Text)
			}
		})
	}
}

// Without an address a record would only say that the domain's mail is suspect.
func TestNoSPFWithoutAddresses(t *testing.T) {
	plan, record := planner(t, "x. TXT \"hello\"").planSPF(t.Context(), "x", nil)
	if record.Status != fleet.DNSMissing || record.Value+plan.Proposed+plan.Shorter != "" || !strings.Contains(record.Text, "no address is known") {
		t.Errorf("%+v, %+v", record, plan)
	}
}

// Joining never lets an address pass that did not before, and loses none.
func TestJoin(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"192.0.2.1 192.0.2.0", "192.0.2.0/31"},
		{"192.0.2.1 192.0.2.2", "192.0.2.1 192.0.2.2"},
		{"192.0.2.0 192.0.2.1 192.0.2.2 192.0.2.3", "192.0.2.0/30"},
		{"192.0.2.0/24 192.0.2.77 192.0.3.0/24", "192.0.2.0/23"},
		{"2001:db8::1 2001:db8:: ::/0", "::/0"},
		{"0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0"},
	} {
		var in, got []string
		var prefixes []netip.Prefix
		for _, text := range strings.Fields(c.in) {
			term := spfwalk.Term{Name: "ip4", Value: text}
			if strings.Contains(text, "::") {
				term.Name = "ip6"
			}
			prefix, ok := term.Network()
			if !ok {
				t.Fatal(text)
			}
			in, prefixes = append(in, text), append(prefixes, prefix)
		}
		for _, prefix := range join(prefixes) {
			_, text, _ := strings.Cut(spfwalk.Mechanism(prefix), ":")
			got = append(got, text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %q, expected %q", in, got, c.want)
		}
	}
}
