package milter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gomilter "github.com/d--j/go-milter"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postfleet/postfleet/internal/fleet"
)

// handedBy is a relay that handed over the connection of one client for mx1.
func handedBy(addr string, port int) (string, bool) {
	return "mx1", addr == "192.0.2.1" && port == 4711
}

// relayed is a letter as the origin sends it: its own signatures on top, above its Received field; one of the client below.
var relayed = [][2]string{
	{"DKIM-Signature", " v=1; a=rsa-sha256; d=example.com; s=mx1; b=1"},
	{"dkim-signature", " v=1; a=ed25519-sha256;\n\td=Exam\n\t ple.com;\n\ts=mx1-ed25519; b=2"},
	{"DKIM-Signature", " v=1; d=list.example; s=mx1; b=3"},
	{"X-Filter", " passed"},
	{"DKIM-SIGNATURE", " v=1;d=EXAMPLE.COM;s=other;b=4"},
	{"Received", " from app by mx1"},
	{"DKIM-Signature", " v=1; d=example.com; s=app; b=5"},
	{"Received", " from x by y"},
	{"DKIM-Signature", " v=1; d=example.com; s=N; b=6"},
	{"From", " j@example.com"},
}

// changes are what the milter did to the header, in words.
func changes(actions []gomilter.ModifyAction) (list []string) {
	for _, a := range actions {
		switch a.Type {
		case gomilter.ActionChangeHeader:
			list = append(list, fmt.Sprintf("remove %s %d%s", a.HeaderName, a.HeaderIndex, a.HeaderValue))
		case gomilter.ActionInsertHeader:
			list = append(list, fmt.Sprintf("insert %d %s", a.HeaderIndex, a.HeaderValue[strings.LastIndex(a.HeaderValue, "b="):]))
		default:
			list = append(list, fmt.Sprintf("%+v", a))
		}
	}
	return list
}

func TestHops(t *testing.T) {
	own := []string{"insert 0 b=2", "insert 0 b=1"}
	with := func(list ...string) []string { return append(list, own...) }
	twin := "remove DKIM-Signature 6" // says that it is by this node's selector n
	tests := map[string]struct {
		how    HopSigning
		header [][2]string
		finish func() (fleet.Signed, error)
		want   []string
		reason string
	}{
		"left":                           {HopLeave, relayed, nil, nil, "left to mx1, which signed it"},
		"added":                          {HopAdd, relayed, nil, with(twin), ""},
		"replaced":                       {HopReplace, relayed, nil, with(twin, "remove DKIM-Signature 4", "remove DKIM-Signature 2", "remove DKIM-Signature 1"), ""},
		"unsigned by the origin":         {HopReplace, letter, nil, nil, "mx1 didn't sign it"},
		"nor added to":                   {HopAdd, letter, nil, nil, "mx1 didn't sign it"},
		"signed below the origin's line": {HopReplace, relayed[5:], nil, nil, "mx1 didn't sign it"},
		"without Received":               {HopReplace, [][2]string{relayed[0], relayed[1], {"From", " a@example.com"}, relayed[4]}, nil, with("remove DKIM-Signature 2", "remove DKIM-Signature 1"), ""},
		"no key": {HopReplace, relayed, func() (fleet.Signed, error) {
			return fleet.Signed{Unsigned: "no key", Refuse: fleet.VerdictTempfail, Reply: "451 4.7.5 no"}, nil
		}, nil, "no key"},
		"the key fails": {HopReplace, relayed, func() (fleet.Signed, error) { return fleet.Signed{Unsigned: "no key could sign"}, fmt.Errorf("broken") }, nil, "no key could sign"},
		"refused by its From field": {HopAdd, relayed, func() (fleet.Signed, error) {
			return fleet.Signed{Unsigned: "no author", Refuse: fleet.VerdictRejected, Reply: "550 5.6.0 no"}, nil
		}, nil, "no author"},
		"another domain signs": {HopReplace, relayed, func() (fleet.Signed, error) { return signedFor("fallback.example"), nil }, []string{"insert 0 b=1"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &shelf{}
			policy := testPolicy()
			policy.Sign = func(time.Time) Signing { return &stamp{finish: test.finish} }
			server, path := start(t, Options{Policy: policy, Recorder: store, HopOrigin: handedBy, HopSigning: func(sender string) HopSigning {
				if sender != "sender@example.com" {
					t.Errorf("asked for %q", sender)
				}
				return test.how
			}})
			c := dial(t, path)
			c.macros.Set(gomilter.MacroDaemonName, fleet.HopService)
			c.ok(c.Conn("unknown", gomilter.FamilyInet, 4711, "192.0.2.1"))
			c.ok(c.Helo("mx1"))
			c.envelope("Q", "b@example.net")
			actions, answer := c.content(test.header, "x\r\n")
			if answer.Type != gomilter.ActionAccept {
				t.Fatalf("answered %+v", answer)
			}
			if diff := cmp.Diff(test.want, changes(actions)); diff != "" {
				t.Error(diff)
			}
			r := recorded(t, store.wait(t, 1)[0])
			if r.Source != fleet.SourceHop || r.Hop == nil || *r.Hop != (fleet.Hop{Origin: "mx1"}) || r.Unsigned != test.reason {
				t.Errorf("source %q, hop %+v, unsigned %q", r.Source, r.Hop, r.Unsigned)
			}
			if !says(r.Transcript, "a hop of the fleet: handed over by mx1") {
				t.Errorf("transcript %+v", r.Transcript.Lines)
			}
			if got := testutil.ToFloat64(server.metrics.hops.WithLabelValues("taken")); got != 1 {
				t.Errorf("%v hops counted", got)
			}
		})
	}
}

func signedFor(domain string) fleet.Signed {
	return fleet.Signed{Signatures: []fleet.Signature{{Domain: domain, Selector: "n"}}, Fields: []string{" b=1"}}
}

func says(t *fleet.Transcript, text string) bool {
	for _, line := range t.Lines {
		if line.Text == text {
			return true
		}
	}
	return false
}

// Nobody becomes a hop by what it says: the daemon that spliced the connection has to know it.
func TestStrangersOnTheHopService(t *testing.T) {
	tests := map[string]struct {
		options Options
		ip      string
		port    uint16
	}{
		"another port":              {Options{HopOrigin: handedBy}, "192.0.2.1", 4712},
		"another address":           {Options{HopOrigin: handedBy}, "192.0.2.2", 4711},
		"loopback":                  {Options{HopOrigin: handedBy}, "127.0.0.1", 4711},
		"a node that takes no part": {Options{}, "192.0.2.1", 4711},
		"a node without a name":     {Options{HopOrigin: func(string, int) (string, bool) { return "", true }}, "192.0.2.1", 4711},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &shelf{}
			test.options.Policy, test.options.Recorder = testPolicy(), store
			test.options.HopSigning = func(string) HopSigning { return HopReplace }
			server, path := start(t, test.options)
			c := dial(t, path)
			c.macros.Set(gomilter.MacroDaemonName, fleet.HopService)
			c.ok(c.Conn("unknown", gomilter.FamilyInet, test.port, test.ip))
			c.ok(c.Helo("mx1"))
			c.envelope("Q", "b@example.net")
			actions, answer := c.content(relayed, "x\r\n")
			if len(actions) > 0 || answer.Type != gomilter.ActionRejectWithCode || answer.SMTPReply != replyNoHop {
				t.Errorf("answered %+v, %v", answer, changes(actions))
			}
			r := recorded(t, store.wait(t, 1)[0])
			if r.Source == fleet.SourceHop || r.Hop != nil || r.Verdict != fleet.VerdictTempfail {
				t.Errorf("recorded as %q, %+v, %q", r.Source, r.Hop, r.Verdict)
			}
			if got := testutil.ToFloat64(server.metrics.hops.WithLabelValues("refused")); got != 1 {
				t.Errorf("%v counted", got)
			}
		})
	}
}

// The same client on another service is a client as any other, whatever its header says.
func TestHopOnAnotherService(t *testing.T) {
	store := &shelf{}
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store, HopOrigin: handedBy, HopSigning: func(string) HopSigning { return HopReplace }})
	for i, service := range []string{"smtpd", "Postfleet-Hop", ""} {
		c := dial(t, path)
		c.macros.Set(gomilter.MacroDaemonName, service)
		c.ok(c.Conn("unknown", gomilter.FamilyInet, 4711, "192.0.2.1"))
		c.ok(c.Helo("mx1"))
		c.envelope("Q", "b@example.net")
		actions, _ := c.content(relayed, "x\r\n")
		if diff := cmp.Diff([]string{"remove DKIM-Signature 6", "insert 0 b=2", "insert 0 b=1"}, changes(actions)); diff != "" {
			t.Errorf("service %q: %s", service, diff)
		}
		if r := recorded(t, store.wait(t, i+1)[i]); r.Source != fleet.SourceNetwork || r.Hop != nil {
			t.Errorf("service %q: recorded as %q, %+v", service, r.Source, r.Hop)
		}
	}
}

// A message that goes through the milter again (postsuper -r) is signed anew, not twice.
func TestSignedAgain(t *testing.T) {
	_, path := start(t, Options{Policy: testPolicy()})
	c := dial(t, path)
	c.ok(c.Conn("localhost", gomilter.FamilyInet, 0, "127.0.0.1"))
	c.ok(c.Helo("localhost"))
	c.envelope("Q", "b@example.net")
	actions, _ := c.content([][2]string{{"DKIM-Signature", " d=example.com; s=n; b=1"}, {"DKIM-Signature", " d=example.com; s=n-ed25519; b=1"},
		{"DKIM-Signature", " d=example.com; s=mx2; b=1"}, {"Received", " by x"}, {"From", " a@example.com"}}, "x\r\n")
	want := []string{"remove DKIM-Signature 2", "remove DKIM-Signature 1", "insert 0 b=2", "insert 0 b=1"}
	if diff := cmp.Diff(want, changes(actions)); diff != "" {
		t.Error(diff)
	}
}

// An MTA that lets no field be taken out gets no second signature by one selector.
func TestWithoutChangingHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		header [][2]string
		want   []string
		reason string
	}{
		"one of two is there": {[][2]string{{"DKIM-Signature", " d=example.com; s=n; b=1"}, {"From", " a@example.com"}}, []string{"insert 0 b=2"}, ""},
		"both are": {[][2]string{{"DKIM-Signature", " d=example.com; s=n; b=1"}, {"DKIM-Signature", " s=n-ed25519; d=example.com"}, {"From", " a@example.com"}}, nil,
			"signed already, and the mail server doesn't let that signature be replaced"},
		"neither is": {letter, []string{"insert 0 b=2", "insert 0 b=1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			store := &shelf{}
			_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
			c := dial(t, path, gomilter.WithActions(gomilter.OptAddHeader|gomilter.OptSetMacros))
			c.hello("192.0.2.7")
			c.envelope("Q", "b@example.net")
			actions, _ := c.content(test.header, "x\r\n")
			if diff := cmp.Diff(test.want, changes(actions)); diff != "" {
				t.Error(diff)
			}
			if r := recorded(t, store.wait(t, 1)[0]); r.Unsigned != test.reason || len(r.Signatures) != len(test.want) {
				t.Errorf("unsigned %q, %d signatures", r.Unsigned, len(r.Signatures))
			}
		})
	}
}

// A hop that didn't come to its end is no mail from elsewhere, and nobody is refused.
func TestHopGivenUp(t *testing.T) {
	store := &shelf{}
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
	c := dial(t, path)
	c.macros.Set(gomilter.MacroDaemonName, fleet.HopService)
	c.ok(c.Conn("unknown", gomilter.FamilyInet, 4711, "192.0.2.1"))
	c.ok(c.Helo("mx1"))
	c.envelope("Q", "b@example.net")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if r := recorded(t, store.wait(t, 1)[0]); r.Source != fleet.SourceUnknown || r.Verdict != fleet.VerdictAborted {
		t.Errorf("recorded as %q, %q", r.Source, r.Verdict)
	}
}

// The signatures that are looked at are bounded, whatever a sender puts into the header.
func TestManySignatures(t *testing.T) {
	var p present
	for range 10 * maxSignatures {
		p.note("DKIM-Signature", " d=example.com; s=n")
	}
	if len(p.list) != maxSignatures || p.count != 10*maxSignatures {
		t.Errorf("%d kept of %d", len(p.list), p.count)
	}
}

func FuzzSigner(f *testing.F) {
	f.Add(" v=1; a=rsa-sha256;\n\td=Exam\r\n ple.com;s=mx1 ; b=\td=x")
	f.Add("d;s;;=;d==;s=d=")
	f.Fuzz(func(t *testing.T, value string) {
		domain, selector := signer(value)
		if strings.ContainsAny(domain+selector, " \t\r\n;") {
			t.Errorf("%q, %q", domain, selector)
		}
	})
}
