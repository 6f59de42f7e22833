package dnspublish

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

const there = `x. TXT "v=spf1 ip4:192.0.2.10 -all"
k1._domainkey.x. CNAME k1.keys.y.
k1.keys.y. TXT "key " "one"
k2._domainkey.x. TXT "another"
k4._domainkey.x. TXT "key four"
k5.broken.x. TXT "key five"
_dmarc.x. TXT "v=DMARC1; p=reject"
_smtp._tls.x. TXT "hello"
10.2.0.192.in-addr.arpa. PTR mail.x.
mail.x. A 192.0.2.10
11.2.0.192.in-addr.arpa. PTR elsewhere.x.
elsewhere.x. A 192.0.2.99
`

func key(name, text string, stage fleet.KeyStage) fleet.Key {
	selector, _, _ := strings.Cut(name, ".")
	return fleet.Key{Node: "mx1", Domain: "x", Selector: selector, Name: name, Text: text, Stage: stage}
}

func makePlan(t *testing.T) *fleet.DNSPlan {
	t.Helper()
	return planner(t, there).Plan(t.Context(), &fleet.DNSNeeds{
		Keys: []fleet.Key{key("k1._domainkey.x", "key one", fleet.StageActive), key("k2._domainkey.x", "key two", fleet.StageActive),
			key("k3._domainkey.x", "key three", fleet.StageWaiting), key("k4._domainkey.x", "key four", fleet.StageRetired),
			key("k5.broken.x", "key five", fleet.StageActive), key("k6._domainkey.x", "key six", fleet.StageRetired)},
		Egress: []fleet.SendingAddress{{Node: "mx1", Address: "192.0.2.10", Hostname: "mail.x"}, {Node: "mx1", Address: "10.0.0.1"},
			{Node: "mx2", Address: "192.0.2.11", Hostname: "mx2.x"}, {Node: "mx2", Address: "2001:db8::b"}, {Node: "mx3", Address: "fd00::1"}, {Node: "mx3", Address: "100.64.0.1"}},
		Problems: []string{"the keys of mx4 are missing"}})
}

func TestPlan(t *testing.T) {
	plan := makePlan(t)
	got := map[string]string{}
	for _, r := range plan.Records {
		got[string(r.Kind)+" "+r.Name] = string(r.Status)
	}
	want := map[string]string{"dkim k1._domainkey.x": "there", "dkim k2._domainkey.x": "differs", "dkim k3._domainkey.x": "missing",
		"dkim k4._domainkey.x": "removable", "dkim k5.broken.x": "unknown", "spf x": "differs", "dmarc _dmarc.x": "there", "mta-sts _mta-sts.x": "missing",
		"tls-rpt _smtp._tls.x": "missing", "ptr 10.2.0.192.in-addr.arpa": "there", "ptr 11.2.0.192.in-addr.arpa": "differs",
		"ptr b.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "missing"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(plan.Problems) != 2 || !strings.HasPrefix(plan.Problems[1], "mx3 names no address that the world sees") {
		t.Errorf("problems %q", plan.Problems)
	}
}

// Each form has what is missing, ready to be used, and nothing that DNS said can act in it.
func TestFormat(t *testing.T) {
	plan := makePlan(t)
	plan.Records[1].Text = "it says \x1b[31m\"\nupdate delete x. TXT"
	for format, want := range map[string][]string{
		FormatText: {"! the keys of mx4 are missing", "to publish      k3._domainkey.x  TXT\n      key three", "may be removed  k4._domainkey.x", "could not tell  k5.broken.x",
			"advised         _mta-sts.x", "SPF of x takes 0 of 10 look-ups"},
		FormatZone: {"k3._domainkey.x.\t3600\tIN\tTXT\t\"key three\"\n", "; k4._domainkey.x.\t3600\tIN\tTXT", "; 11.2.0.192.in-addr.arpa.\t3600\tIN\tPTR\tmx2.x.",
			"x.\t3600\tIN\tTXT\t\"v=spf1 ip4:192.0.2.11 ip6:2001:db8::b ip4:192.0.2.10 -all\"\n"},
		FormatNSUpdate: {"prereq nxrrset k3._domainkey.x. TXT\nupdate add k3._domainkey.x. 3600 IN TXT \"key three\"\nsend\n",
			"update delete x. TXT \"v=spf1 ip4:192.0.2.10 -all\"\nupdate add x. 3600 IN TXT \"v=spf1 ip4:192.0.2.11", "update delete k4._domainkey.x. TXT \"key four\""},
		FormatJSON: {`"name": "k3._domainkey.x"`},
	} {
		t.Run(format, func(t *testing.T) {
			text, err := Format(plan, format)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range want {
				if !strings.Contains(text, part) {
					t.Errorf("lacks %q:\n%s", part, text)
				}
			}
			if strings.Contains(text, "\x1b") || strings.Contains(text, "\nupdate delete x. TXT\n") {
				t.Errorf("what DNS says acts:\n%s", text)
			}
		})
	}
	if _, err := Format(plan, "html"); fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

// What an update would do to a name, given what the primary has there.
func TestWanted(t *testing.T) {
	compare := planner(t, "").Compare
	dkim := fleet.DNSRecord{Kind: fleet.DNSDKIM, Name: "k", Value: "key", Status: fleet.DNSMissing}
	gone := fleet.DNSRecord{Kind: fleet.DNSDKIM, Name: "k", Value: "key", Status: fleet.DNSRemovable}
	spf := fleet.DNSRecord{Kind: fleet.DNSSPF, Name: "x", Value: "v=spf1 a -all", Seen: []string{"v=spf1 -all"}, Status: fleet.DNSDiffers}
	unknown := spf
	unknown.Status, unknown.Text = fleet.DNSUnknown, "could not tell"
	dmarc := fleet.DNSRecord{Kind: fleet.DNSDMARC, Name: "_dmarc.x", Value: "v=DMARC1", Status: fleet.DNSMissing}
	for _, c := range []struct {
		name    string
		record  fleet.DNSRecord
		current []string
		want    *Change
		left    string
	}{
		{"a key that is missing", dkim, nil, &Change{Name: "k", Add: []string{"key"}}, ""},
		{"a key that is there", dkim, []string{"key"}, nil, ""},
		{"something else", dkim, []string{"other"}, nil, "something else is there"},
		{"a retired key", gone, []string{"key", "b"}, &Change{Name: "k", Before: []string{"key", "b"}, Remove: []string{"key"}}, ""},
		{"a retired key whose name has another", gone, []string{"b"}, nil, ""},
		{"SPF beside others", spf, []string{"verify", "v=spf1 -all"}, &Change{Name: "x", Before: []string{"verify", "v=spf1 -all"}, Add: []string{"v=spf1 a -all"}, Remove: []string{"v=spf1 -all"}}, ""},
		{"SPF done already", spf, []string{"v=spf1 a -all"}, nil, ""},
		{"SPF that somebody else changed", spf, []string{"v=spf1 mx -all"}, nil, "another SPF record"},
		{"SPF that can't be judged", unknown, []string{"v=spf1 -all"}, nil, "could not tell"},
		{"DMARC", dmarc, nil, &Change{Name: "_dmarc.x", Add: []string{"v=DMARC1"}}, ""},
		{"DMARC of the organisation", fleet.DNSRecord{Kind: fleet.DNSDMARC, Name: "_dmarc.x", Status: fleet.DNSThere}, nil, nil, ""},
		{"DMARC that can't be judged", fleet.DNSRecord{Kind: fleet.DNSDMARC, Name: "_dmarc.x", Status: fleet.DNSUnknown, Text: "could not tell"}, nil, nil, "could not tell"},
		{"DMARC that is there", dmarc, []string{"v=DMARC1; p=reject"}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, left := wanted(&c.record, c.current, compare)
			if diff := cmp.Diff(c.want, got); diff != "" || !strings.Contains(left, c.left) || c.left == "" && left != "" {
				t.Errorf("left %q, (-want +got):\n%s", left, diff)
			}
		})
	}
	p := &Prepared{Left: []LeftAlone{{"k", "why\n"}}}
	p.add("x", Change{Name: "a.x", Add: []string{"1"}})
	p.add("x", Change{Name: "b.x", Remove: []string{"2"}})
	if got := p.Diff(); got != "zone x\n+ a.x. 3600 IN TXT \"1\"\n- b.x. 3600 IN TXT \"2\"\n= k: why\\010\n" {
		t.Errorf("got %q", got)
	}
}

// A sub-domain has the policy of its organisation's domain; a record of its own that asks for nothing would take that away.
func TestDMARC(t *testing.T) {
	p := planner(t, `_dmarc.strict.test. TXT "v=DMARC1; p=reject"
_dmarc.own.strict.test. TXT "v=DMARC1; p=none"
_dmarc.two.test. TXT "v=DMARC1; p=reject"
_dmarc.two.test. TXT "v=DMARC1; p=none"`)
	for domain, want := range map[string]struct {
		status fleet.DNSStatus
		value  bool // to publish, or as it is
		says   string
	}{
		"strict.test":      {fleet.DNSThere, true, ""},
		"own.strict.test":  {fleet.DNSThere, true, ""},
		"news.strict.test": {fleet.DNSThere, false, "the policy of _dmarc.strict.test holds"},
		"news.two.test":    {fleet.DNSMissing, true, "p=none asks for reports"},
		"news.none.test":   {fleet.DNSMissing, true, "p=none asks for reports"},
		"none.test":        {fleet.DNSMissing, true, "p=none asks for reports"},
		"news.broken.test": {fleet.DNSUnknown, true, "could not tell"},
	} {
		got := p.dmarc(t.Context(), domain)
		if got.Status != want.status || (got.Value != "") != want.value || !strings.Contains(got.Text, want.says) {
			t.Errorf("%s: %+v", domain, got)
		}
	}
}

// A server compares strings: the old record goes only if they are as it has them.
func TestScriptCut(t *testing.T) {
	plan := planner(t, `x. TXT "v=spf1 " "exp=\"\\y -all"`).Plan(t.Context(), &fleet.DNSNeeds{Egress: nodes[:1],
		Keys: []fleet.Key{key("k._domainkey.x", "key", fleet.StageActive)}})
	text, err := Format(plan, FormatNSUpdate)
	if want := `update delete x. TXT "v=spf1 " "exp=\"\\y -all"` + "\nupdate add x. 3600 IN TXT \"v=spf1 ip4:192.0.2.10 exp="; err != nil || !strings.Contains(text, want) {
		t.Errorf("%v: lacks %q:\n%s", err, want, text)
	}
}

// What has no value is proposed by no form: an SPF record that must be written by hand isn't deleted for nothing.
func TestScriptWithoutValue(t *testing.T) {
	plan := &fleet.DNSPlan{Records: []fleet.DNSRecord{
		{Kind: fleet.DNSSPF, Name: "x", Type: "TXT", Status: fleet.DNSDiffers, Seen: []string{"v=spf1 \x01 -all"}},
		{Kind: fleet.DNSSPF, Name: "y", Type: "TXT", Status: fleet.DNSMissing}}}
	for _, format := range []string{FormatNSUpdate, FormatZone} {
		if text, err := Format(plan, format); err != nil || strings.Contains(text, "update delete") || strings.Contains(text, "TXT") {
			t.Errorf("%s: %v\n%s", format, err, text)
		}
	}
}

func TestTSIGForms(t *testing.T) {
	good := "# made by tsig-keygen\nkey \"Mx1.Key\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2VjcmV0\";\n};\n"
	key, err := parseTSIG(good)
	if err != nil || key.Name != "mx1.key." || key.Algorithm != "hmac-sha512." {
		t.Errorf("%+v, %v", key, err)
	}
	slashes, err := parseTSIG("key \"a\" { // mx1's\n\talgorithm hmac-sha256;\n\tsecret \"a//b\"; # of today\n};\n")
	if err != nil || slashes.secret != "a//b" {
		t.Errorf("%+v, %v", slashes, err)
	}
	for text, want := range map[string]string{"": "expected one key", "key a { algorithm hmac-md5; secret \"c2VjcmV0\"; };": "algorithm \"hmac-md5\"",
		"key a { algorithm hmac-sha256; secret \"?\"; };": "not base64", "key a { algorithm hmac-sha256; };": "expected an algorithm and a secret"} {
		if _, err := parseTSIG(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
