package diagnose

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

// zone is what the test's BIND serves: each fault has its own name or address.
func zone(keys map[string]*dkim.Key) string {
	var z strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&z, format+"\n", args...) }
	// Addresses and names.
	line("10.2.0.192.in-addr.arpa. PTR mail.good.test.\nmail.good.test. A 192.0.2.10\nmail.good.test. TXT \"v=spf1 a -all\"")
	line("11.2.0.192.in-addr.arpa. PTR lost.good.test.\nlost.good.test. A 192.0.2.99")
	line("12.2.0.192.in-addr.arpa. PTR nowhere.good.test.")
	line("13.2.0.192.in-addr.arpa. PTR host-192-0-2-13.dsl.test.\nhost-192-0-2-13.dsl.test. A 192.0.2.13")
	line("other.good.test. A 192.0.2.77")
	line("0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mail6.good.test.\nmail6.good.test. AAAA 2001:db8::10")
	// SPF.
	line("good.test. TXT \"v=spf1 ip4:192.0.2.10 ip4:192.0.2.20 ip4:192.0.2.30 ip6:2001:db8::10 -all\"")
	line("good.test. TXT \"some-site-verification=1\"\ngood.test. MX 10 mx.good.test.\nmx.good.test. A 192.0.2.10")
	line("nospf.test. TXT \"nothing of the kind\"")
	line("wrong.test. TXT \"v=spf1 ip4:198.51.100.1 -all\"\nsoft.test. TXT \"v=spf1 ip4:198.51.100.1 ~all\"\nneutral.test. TXT \"v=spf1 ?all\"")
	line("everybody.test. TXT \"v=spf1 +all\"\nopen.test. TXT \"v=spf1 ip4:192.0.2.10\"")
	line("two.test. TXT \"v=spf1 ip4:192.0.2.10 -all\"\ntwo.test. TXT \"v=spf1 -all\"\nbroken.test. TXT \"v=spf1 ipv4:192.0.2.10 -all\"")
	includes, voids := "", ""
	for i := range 11 {
		includes += fmt.Sprintf(" include:i%d.test", i)
		line("i%d.test. TXT \"v=spf1 ip4:198.51.100.%d -all\"", i, i)
	}
	line("eleven.test. TXT \"v=spf1%s ip4:192.0.2.10 -all\"", includes)
	line("ten.test. TXT \"v=spf1%s ip4:192.0.2.10 -all\"", strings.TrimSuffix(includes, " include:i10.test"))
	for i := range 3 {
		voids += fmt.Sprintf(" a:void%d.test", i)
	}
	line("void.test. TXT \"v=spf1%s ip4:192.0.2.10 -all\"", voids)
	line("through.test. TXT \"v=spf1 include:all.test -all\"\nshouted.test. TXT \"v=spf1 +All\"\nshut.test. TXT \"v=spf1 ?include:all.test -all\"")
	line("wide.test. TXT \"v=spf1 ip4:0.0.0.0/0 -all\"\nall.test. TXT \"v=spf1 +all\"")
	line("reverse.test. TXT \"v=spf1 ptr ip4:192.0.2.10 -all\"")
	// DKIM.
	for name, key := range keys {
		text := key.Record()
		switch name {
		case "revoked":
			text = "v=DKIM1; k=rsa; p="
		case "flagged":
			text = strings.Replace(text, "p=", "t=y; p=", 1)
		case "cut":
			text = text[:255]
		case "sha1":
			text = strings.Replace(text, "h=sha256", "h=sha1", 1)
		case "left", "right":
			text = keys[map[string]string{"left": "right", "right": "left"}[name]].Record()
		case "absent":
			continue
		case "double":
			line("%s. TXT \"v=DKIM1; p=AAAA\"", key.RecordName())
		}
		line("%s. TXT %s", key.RecordName(), txt(text))
	}
	// Policies.
	line("_dmarc.good.test. TXT \"v=DMARC1; p=reject; rua=mailto:dmarc@good.test\"\n_dmarc.watching.test. TXT \"v=DMARC1; p=none; rua=mailto:a@watching.test\"")
	line("_dmarc.silent.test. TXT \"v=DMARC1; p=reject\"\n_dmarc.typo.test. TXT \"v=DMARC1; p=rejct\"")
	line("_dmarc.elsewhere.test. TXT \"v=DMARC1; p=reject; rua=mailto:x@reports.invalidated.test\"")
	line("_dmarc.dup.test. TXT \"v=DMARC1; p=reject\"\n_dmarc.dup.test. TXT \"v=DMARC1; p=none\"")
	line("_smtp._tls.good.test. TXT \"v=TLSRPTv1; rua=mailto:tls@good.test\"\nadvised.test. MX 10 mx.good.test.\nmuddled.test. MX 10 mx.good.test.")
	line("_smtp._tls.dup.test. TXT \"v=TLSRPTv1; rua=mailto:a@dup.test\"\n_smtp._tls.dup.test. TXT \"v=TLSRPTv1; rua=mailto:b@dup.test\"")
	line("_mta-sts.dup.test. TXT \"v=STSv1; id=1\"\n_mta-sts.dup.test. TXT \"v=STSv1; id=2\"\ndup.test. MX 10 mx.good.test.")
	line("_smtp._tls.muddled.test. TXT \"v=TLSRPTv1; rua=nobody\"")
	// Blocklists.
	line("2.0.0.127.bl.test. A 127.0.0.2\n11.2.0.192.bl.test. A 127.0.0.2\n11.2.0.192.bl.test. TXT \"https://bl.test/why?192.0.2.11\"")
	line("*.refuses.test. A 127.255.255.254\n*.world.test. A 127.0.0.2\ndead.test. TXT \"gone\"\n*.parked.test. A 203.0.113.80\n2.0.0.127.busy.test. A 127.0.0.2\n10.2.0.192.busy.test. A 127.255.255.255")
	line("test.dbl.test. A 127.0.1.2\nwrong.test.dbl.test. A 127.0.1.2")
	return z.String()
}

// txt cuts a text into strings of a TXT record.
func txt(text string) string {
	var parts []string
	for len(text) > 0 {
		n := min(255, len(text))
		parts, text = append(parts, `"`+text[:n]+`"`), text[n:]
	}
	return strings.Join(parts, " ")
}

// testKeys makes a key for each fault, all for good.test.
func testKeys(t *testing.T) map[string]*dkim.Key {
	t.Helper()
	keys := map[string]*dkim.Key{}
	for _, name := range []string{"fine", "revoked", "flagged", "cut", "sha1", "left", "right", "absent", "double"} {
		key, err := dkim.Generate(t.TempDir(), "good.test", name, dkim.RSA, dkim.MinBits)
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = key
	}
	return keys
}

func factKey(k *dkim.Key) diagnose.Key {
	return diagnose.Key{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm(), Bits: k.Bits(), Record: k.Record(), Fingerprint: k.Fingerprint()}
}

func TestDNS(t *testing.T) {
	keys := testKeys(t)
	server := bind(t, zone(keys))
	postfix := settings(t, "", "")
	good := []string{"good.test"}
	n2 := fleet.Peer{Name: "n2", Egress: []string{"192.0.2.20"}, Selectors: []fleet.Selector{{Domain: "good.test", Selector: "n2"}}}
	n1 := fleet.Peer{Name: "n1", Egress: []string{"192.0.2.10"}}
	type facts = diagnose.Facts
	for _, c := range []struct {
		name, check string
		facts       facts
		want        want
	}{
		{"PTR", "ptr", facts{Egress: egress("192.0.2.10", "2001:db8::10")}, want{grade: fleet.GradePass, seen: "leads back to it"}},
		{"no PTR", "ptr", facts{Egress: egress("192.0.2.14"), HELO: "mail.good.test"}, want{fleet.GradeFail, "192.0.2.14 has no PTR record",
			[]string{"14.2.0.192.in-addr.arpa. IN PTR mail.good.test."}}},
		{"PTR without forward", "ptr", facts{Egress: egress("192.0.2.12")}, want{fleet.GradeFail, "doesn't lead back",
			[]string{"nowhere.good.test. IN A 192.0.2.12"}}},
		{"PTR to another address", "ptr", facts{Egress: egress("192.0.2.11")}, want{fleet.GradeFail, "doesn't lead back", []string{"lost.good.test. IN A 192.0.2.11"}}},
		{"PTR of a customer's line", "ptr", facts{Egress: egress("192.0.2.13")}, want{fleet.GradeWarn, "looks like a customer's line", []string{"IN PTR"}}},
		{"address not known", "ptr", facts{}, want{fleet.GradeUnknown, "isn't known", []string{"node: {addresses: [ADDRESS]}"}}},

		{"HELO", "helo", facts{Egress: egress("192.0.2.10"), HELO: "mail.good.test"}, want{grade: fleet.GradePass, seen: "leads to 192.0.2.10"}},
		{"HELO mismatch", "helo", facts{Egress: egress("192.0.2.10"), HELO: "other.good.test"}, want{fleet.GradeFail, "doesn't lead to 192.0.2.10",
			[]string{"other.good.test. IN A 192.0.2.10", "smtp_helo_name = mail.good.test"}}},
		{"HELO not in DNS", "helo", facts{Egress: egress("192.0.2.10"), HELO: "gone.good.test"}, want{fleet.GradeFail, "has no A record", []string{"gone.good.test. IN A 192.0.2.10"}}},
		{"HELO without a domain", "helo", facts{Egress: egress("192.0.2.10"), HELO: "mail"}, want{fleet.GradeFail, "has no domain", []string{"smtp_helo_name"}}},
		{"HELO of a private domain", "helo", facts{Egress: egress("192.0.2.10"), HELO: "mail.corp.local"}, want{fleet.GradeFail, "world's DNS", []string{"smtp_helo_name"}}},

		{"IPv6", "ipv6", facts{Egress: egress("192.0.2.10", "2001:db8::10"), Domains: good}, want{grade: fleet.GradePass}},
		{"IPv6 without PTR", "ipv6", facts{Egress: egress("2001:db8::99"), Domains: good, HELO: "mail.good.test"}, want{fleet.GradeFail, "has no PTR",
			[]string{"ip6.arpa. IN PTR mail.good.test.", "inet_protocols=ipv4"}}},
		{"IPv6 without SPF", "ipv6", facts{Egress: egress("2001:db8::10"), Domains: []string{"wrong.test"}}, want{fleet.GradeFail, "forbids 2001:db8::10",
			[]string{"ip6:2001:db8::10", "inet_protocols=ipv4"}}},
		{"no IPv6", "ipv6", facts{Egress: egress("192.0.2.10")}, want{grade: fleet.GradeNA}},

		{"SPF", "spf", facts{Egress: egress("192.0.2.10"), Domains: good}, want{grade: fleet.GradePass}},
		{"no SPF", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"nospf.test"}}, want{fleet.GradeFail, "no SPF record",
			[]string{`nospf.test. IN TXT "v=spf1 ip4:192.0.2.10 ~all"`}}},
		{"wrong SPF", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"wrong.test"}}, want{fleet.GradeFail, "forbids 192.0.2.10",
			[]string{`"v=spf1 ip4:192.0.2.10 ip4:198.51.100.1 -all"`}}},
		{"softfail", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"soft.test"}}, want{fleet.GradeFail, "softfail", []string{"v=spf1 ip4:192.0.2.10 ip4:198.51.100.1 ~all"}}},
		{"neutral", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"neutral.test"}}, want{fleet.GradeWarn, "neutral", []string{"ip4:192.0.2.10 ~all"}}},
		{"two SPF records", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"two.test"}}, want{fleet.GradeFail, "there are several", []string{"a single SPF record"}}},
		{"unknown term", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"broken.test"}}, want{fleet.GradeFail, "can't be evaluated", []string{"broken.test. IN TXT"}}},
		{"no domain", "spf", facts{Egress: egress("192.0.2.10")}, want{grade: fleet.GradeNA, seen: "no sending domain"}},

		{"every node covered", "spf-fleet", facts{Node: "n1", Egress: egress("192.0.2.10"), Domains: good, Peers: []fleet.Peer{n1, n2}}, want{grade: fleet.GradePass}},
		{"missing node", "spf-fleet", facts{Node: "n1", Egress: egress("192.0.2.10"), Domains: good,
			Peers: []fleet.Peer{n1, n2, {Name: "n3", Egress: []string{"192.0.2.66"}}}}, want{fleet.GradeFail, "lacks n3 (192.0.2.66)", []string{"v=spf1 ip4:192.0.2.66 ip4:192.0.2.10"}}},
		{"a node's address not known", "spf-fleet", facts{Node: "n1", Domains: good, Peers: []fleet.Peer{n1, n2, {Name: "n3"}}},
			want{fleet.GradeUnknown, "n3", []string{"node: {addresses"}}},
		{"nobody told of the others", "spf-fleet", facts{Node: "n1", Domains: good}, want{grade: fleet.GradeUnknown, seen: "aren't known"}},
		{"alone", "spf-fleet", facts{Node: "n1", Domains: good, Peers: []fleet.Peer{n1}}, want{grade: fleet.GradeNA, seen: "only node"}},

		{"few look-ups", "spf-lookups", facts{Domains: good}, want{grade: fleet.GradePass, seen: "0 look-ups of ten"}},
		{"eleven look-ups", "spf-lookups", facts{Domains: []string{"eleven.test"}}, want{fleet.GradeFail, "needs 11 look-ups", []string{"include:i10.test"}}},
		{"ten look-ups", "spf-lookups", facts{Domains: []string{"ten.test"}}, want{fleet.GradeWarn, "all ten", []string{"include:i9.test"}}},
		{"void look-ups", "spf-lookups", facts{Domains: []string{"void.test"}}, want{fleet.GradeFail, "3 look-ups of void.test find nothing", []string{"void2.test"}}},
		{"a term that doesn't exist", "spf-lookups", facts{Domains: []string{"broken.test"}}, want{fleet.GradeFail, "unknown term ipv4", []string{"Correct"}}},
		{"the mechanism ptr", "spf-lookups", facts{Domains: []string{"reverse.test"}}, want{fleet.GradeWarn, "uses ptr", []string{"Take ptr out"}}},
		{"eleven look-ups evaluated", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"eleven.test"}}, want{fleet.GradeFail, "more than ten look-ups", nil}},
		{"void look-ups evaluated", "spf", facts{Egress: egress("192.0.2.10"), Domains: []string{"void.test"}}, want{fleet.GradeFail, "find nothing", nil}},

		{"-all", "spf-all", facts{Domains: good}, want{grade: fleet.GradePass, seen: "ends in -all"}},
		{"+all", "spf-all", facts{Domains: []string{"everybody.test"}, Egress: egress("192.0.2.10")}, want{fleet.GradeFail, "lets everybody send",
			[]string{`"v=spf1 ip4:192.0.2.10 ~all"`}}},
		{"+All", "spf-all", facts{Domains: []string{"shouted.test"}}, want{fleet.GradeFail, "lets everybody send", []string{`"v=spf1 ~all"`}}},
		{"+all of an include", "spf-all", facts{Domains: []string{"through.test"}}, want{fleet.GradeFail, "all.test: +all", []string{"through.test"}}},
		{"+all of an include that lets nothing pass", "spf-all", facts{Domains: []string{"shut.test"}}, want{grade: fleet.GradePass}},
		{"every address", "spf-all", facts{Domains: []string{"wide.test"}}, want{fleet.GradeFail, "wide.test: ip4:0.0.0.0/0", []string{"wide.test"}}},
		{"?all", "spf-all", facts{Domains: []string{"neutral.test"}}, want{fleet.GradeWarn, "?all", []string{"~all"}}},
		{"no all", "spf-all", facts{Domains: []string{"open.test"}}, want{fleet.GradeWarn, "no all", []string{`"v=spf1 ip4:192.0.2.10 ~all"`}}},

		{"SPF of HELO", "spf-helo", facts{Egress: egress("192.0.2.10"), HELO: "mail.good.test"}, want{grade: fleet.GradePass}},
		{"no SPF of HELO", "spf-helo", facts{Egress: egress("192.0.2.77"), HELO: "other.good.test"}, want{fleet.GradeWarn, "no SPF record",
			[]string{`other.good.test. IN TXT "v=spf1 a -all"`}}},
		{"SPF of HELO forbids", "spf-helo", facts{Egress: egress("192.0.2.99"), HELO: "mail.good.test"}, want{fleet.GradeFail, "forbids", []string{"v=spf1 a -all"}}},

		{"DKIM record", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["fine"])}}, want{grade: fleet.GradePass}},
		{"revoked", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["revoked"])}}, want{fleet.GradeFail, "revoked", []string{`revoked._domainkey.good.test. IN TXT ( "v=DKIM1;`}}},
		{"test flag", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["flagged"])}}, want{fleet.GradeWarn, "test flag", []string{"flagged._domainkey"}}},
		{"truncated", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["cut"])}}, want{fleet.GradeFail, "truncated", []string{`" "`}}},
		{"wrong hash", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["sha1"])}}, want{fleet.GradeFail, "sha1", []string{"h=sha256"}}},
		{"swapped", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["left"]), factKey(keys["right"])}}, want{fleet.GradeFail, "swapped", []string{"_domainkey.good.test. IN TXT"}}},
		{"absent", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["absent"])}}, want{fleet.GradeFail, "not in DNS", []string{"absent._domainkey.good.test. IN TXT"}}},
		{"two records", "dkim-record", facts{Keys: []diagnose.Key{factKey(keys["double"])}}, want{fleet.GradeFail, "2 TXT records", []string{"this one"}}},
		{"short key", "dkim-record", facts{Keys: []diagnose.Key{short(factKey(keys["fine"]), 1536)}}, want{fleet.GradeWarn, "1536 bits", []string{"postfleet dkim keygen"}}},
		{"far too short key", "dkim-record", facts{Keys: []diagnose.Key{short(factKey(keys["fine"]), 512)}}, want{fleet.GradeFail, "512 bits", nil}},
		{"no key", "dkim-record", facts{}, want{grade: fleet.GradeNA}},

		{"selector of its own", "dkim-unique", facts{Node: "n1", Keys: []diagnose.Key{factKey(keys["fine"])}, Peers: []fleet.Peer{n1, n2}}, want{grade: fleet.GradePass}},
		{"shared selector", "dkim-unique", facts{Node: "n1", Keys: []diagnose.Key{{Domain: "good.test", Selector: "n2"}}, Peers: []fleet.Peer{n1, n2}},
			want{fleet.GradeFail, "n1 and n2 sign for good.test with the same selector n2", []string{"{node}"}}},
		{"shared key", "dkim-unique", facts{Node: "n1", Keys: []diagnose.Key{factKey(keys["fine"])}, Peers: []fleet.Peer{n1, n2},
			Claims: []fleet.Claim{{Node: "n2", Domain: "good.test", Selector: "n2", Fingerprint: keys["fine"].Fingerprint()}}}, want{fleet.GradeFail, "one key on two nodes", []string{"dkim rotate"}}},

		{"DMARC", "dmarc", facts{Domains: good, Keys: []diagnose.Key{factKey(keys["fine"])}}, want{grade: fleet.GradePass, seen: "policy reject"}},
		{"DMARC of the organisation", "dmarc", facts{Domains: []string{"sub.good.test"}, Keys: []diagnose.Key{factKey(keys["fine"])}}, want{grade: fleet.GradePass}},
		{"no DMARC", "dmarc", facts{Domains: []string{"wrong.test"}}, want{fleet.GradeFail, "no DMARC record", []string{`_dmarc.wrong.test. IN TXT "v=DMARC1; p=none;`}}},
		{"DMARC none", "dmarc", facts{Domains: []string{"watching.test"}, Keys: []diagnose.Key{{Domain: "watching.test"}}}, want{fleet.GradeWarn, "policy is none", []string{"p=quarantine"}}},
		{"DMARC without reports", "dmarc", facts{Domains: []string{"silent.test"}, Keys: []diagnose.Key{{Domain: "silent.test"}}}, want{fleet.GradeWarn, "no reports", []string{"rua=mailto:"}}},
		{"DMARC not aligned", "dmarc", facts{Domains: good}, want{fleet.GradeWarn, "aligned", []string{"postfleet dkim keygen good.test"}}},
		{"DMARC misspelt", "dmarc", facts{Domains: []string{"typo.test"}}, want{fleet.GradeFail, "can't be read", []string{"p=none"}}},
		{"DMARC twice", "dmarc", facts{Domains: []string{"dup.test"}}, want{fleet.GradeFail, "several DMARC records", []string{"single"}}},
		{"DMARC reports elsewhere", "dmarc", facts{Domains: []string{"elsewhere.test"}, Keys: []diagnose.Key{{Domain: "elsewhere.test"}}},
			want{fleet.GradeWarn, "doesn't say that it takes them", []string{`elsewhere.test._report._dmarc.reports.invalidated.test. IN TXT "v=DMARC1"`}}},

		{"TLS-RPT", "tls-rpt", facts{Domains: good}, want{grade: fleet.GradePass}},
		{"no TLS-RPT", "tls-rpt", facts{Domains: []string{"advised.test"}}, want{fleet.GradeWarn, "no TLS reports", []string{"_smtp._tls.advised.test. IN TXT"}}},
		{"TLS-RPT to nowhere", "tls-rpt", facts{Domains: []string{"muddled.test"}}, want{fleet.GradeFail, "nowhere to report to", []string{"rua=mailto:"}}},
		{"TLS-RPT twice", "tls-rpt", facts{Domains: []string{"dup.test"}}, want{fleet.GradeFail, "several TLS-RPT records", []string{"single", "_smtp._tls.dup.test. IN TXT"}}},
		{"MTA-STS twice", "mta-sts", facts{Domains: []string{"dup.test"}}, want{fleet.GradeFail, "several MTA-STS records", []string{"single", "_mta-sts.dup.test. IN TXT"}}},
		{"TLS-RPT of a domain that takes no mail", "tls-rpt", facts{Domains: []string{"wrong.test"}}, want{grade: fleet.GradeNA}},

		{"not listed", "blocklist", facts{Egress: egress("192.0.2.10"), Domains: good, Blocklists: []string{"bl.test"}, DomainBlocklists: []string{"dbl.test"}}, want{grade: fleet.GradePass}},
		{"listed address", "blocklist", facts{Egress: egress("192.0.2.11"), Blocklists: []string{"bl.test"}}, want{fleet.GradeFail, "192.0.2.11 is listed by bl.test",
			[]string{"https://bl.test/why?192.0.2.11"}}},
		{"listed domain", "blocklist", facts{Domains: []string{"wrong.test"}, DomainBlocklists: []string{"dbl.test"}}, want{fleet.GradeFail, "wrong.test is listed by dbl.test", nil}},
		{"a list that refuses", "blocklist", facts{Egress: egress("192.0.2.10"), Blocklists: []string{"refuses.test"}}, want{fleet.GradeUnknown, "public resolver", []string{"dns.resolvers"}}},
		{"a list that has had enough", "blocklist", facts{Egress: egress("192.0.2.10"), Blocklists: []string{"busy.test"}}, want{fleet.GradeUnknown, "too many questions", []string{"dns.resolvers"}}},
		{"a list of the whole world", "blocklist", facts{Egress: egress("192.0.2.10"), Blocklists: []string{"world.test"}}, want{fleet.GradeUnknown, "shut down", []string{"diagnose.blocklists"}}},
		{"a list that is gone", "blocklist", facts{Egress: egress("192.0.2.10"), Blocklists: []string{"dead.test"}}, want{fleet.GradeUnknown, "test entry", []string{"diagnose.blocklists"}}},
		{"a list that was sold", "blocklist", facts{Egress: egress("192.0.2.10"), Blocklists: []string{"parked.test"}}, want{fleet.GradeUnknown, "203.0.113.80", []string{"diagnose.blocklists"}}},

		{"resolver", "resolver", facts{}, want{grade: fleet.GradePass, seen: "doesn't validate DNSSEC"}},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			f := c.facts
			f.DNS, f.Postfix, f.Now, f.Compare = resolver(server), postfix, time.Now, dkim.CompareRecord
			expect(t, &f, c.check, c.want)
		})
	}
	t.Run("dkim-probe", func(t *testing.T) { probes(t, server, keys) })
}

func short(k diagnose.Key, bits int) diagnose.Key {
	k.Bits = bits
	return k
}

// probes has real signatures verified with what BIND says.
func probes(t *testing.T, server string, keys map[string]*dkim.Key) {
	for _, c := range []struct {
		name string
		want want
	}{
		{"fine", want{grade: fleet.GradePass, seen: "verifies"}},
		{"revoked", want{fleet.GradeFail, "doesn't verify", []string{"revoked._domainkey.good.test. IN TXT"}}},
		{"left", want{fleet.GradeFail, "doesn't verify", []string{"left._domainkey.good.test. IN TXT"}}},
		{"absent", want{fleet.GradeFail, "doesn't verify", []string{"absent._domainkey.good.test. IN TXT"}}},
		{"cut", want{fleet.GradeFail, "doesn't verify", nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := factKey(keys[c.name])
			f := &diagnose.Facts{DNS: resolver(server), Keys: []diagnose.Key{key}, Prove: prover(t, keys[c.name])}
			expect(t, f, "dkim-probe", c.want)
		})
	}
	t.Run("a resolver that is gone", func(t *testing.T) {
		f := &diagnose.Facts{DNS: resolver("127.0.0.1:9"), Keys: []diagnose.Key{factKey(keys["fine"])}, Prove: prover(t, keys["fine"])}
		expect(t, f, "dkim-probe", want{grade: fleet.GradeUnknown})
	})
}
