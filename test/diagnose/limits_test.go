package diagnose

import (
	"testing"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// A carrier that takes less than an origin makes bounces; without relaying the difference is only told of.
func TestLimits(t *testing.T) {
	small, large, endless := &fleet.MailLimits{Size: 10240000, UTF8: true}, &fleet.MailLimits{Size: 20480000, UTF8: true}, &fleet.MailLimits{UTF8: true}
	ascii := &fleet.MailLimits{Size: 10240000}
	off, balance := fleet.Relay{Mode: fleet.RelayOff}, fleet.Relay{Mode: fleet.RelayBalance}
	oneWay := fleet.Relay{Mode: fleet.RelayFailover, Originate: []string{"n2"}}
	for _, c := range []struct {
		name       string
		own, other *fleet.MailLimits
		relay      fleet.Relay
		away       string
		want       want
	}{
		{"the same", small, small, balance, "", want{grade: fleet.GradePass, seen: "the same on this node and 1 other node"}},
		{"no limit anywhere", endless, endless, balance, "", want{grade: fleet.GradePass}},
		{"a carrier that takes less", large, small, balance, "", want{fleet.GradeFail, "mail larger than 10240000 bytes from n1 bounces where n2 carries it", []string{"message_size_limit = 20480000'"}}},
		{"this node takes less", small, large, balance, "", want{fleet.GradeFail, "from n2 bounces where n1 carries it", []string{"message_size_limit = 20480000'"}}},
		{"an origin without a limit", small, endless, balance, "", want{fleet.GradeFail, "from n2 bounces where n1 carries it", []string{"message_size_limit = 0'"}}},
		{"nothing is handed over", large, small, off, "", want{fleet.GradeWarn, "n2 refuses mail larger than 10240000 bytes, and n1 takes it", []string{"message_size_limit = 20480000'"}}},
		{"handed over one way", large, small, oneWay, "", want{fleet.GradeWarn, "n2 refuses mail", nil}},
		{"handed over the other way", small, large, oneWay, "", want{fleet.GradeFail, "from n2 bounces where n1 carries it", nil}},
		{"a carrier without SMTPUTF8", small, ascii, balance, "", want{fleet.GradeFail, "mail with addresses beyond ASCII from n1 bounces where n2 carries it", []string{"smtputf8_enable = yes", "built without it"}}},
		{"an origin without SMTPUTF8", ascii, small, balance, "", want{fleet.GradeFail, "from n2 bounces where n1 carries it", []string{"smtputf8_enable"}}},
		{"an older version", small, nil, balance, "", want{grade: fleet.GradeUnknown, seen: "n2 (its version doesn't tell)"}},
		{"a node that was never seen", small, nil, balance, "no answer", want{grade: fleet.GradeUnknown, seen: "n2 (no answer)"}},
		{"a node that is away", large, small, balance, "no answer", want{grade: fleet.GradeFail, seen: "where n2 carries it"}},
		{"postconf says nothing", nil, small, balance, "", want{grade: fleet.GradeUnknown, seen: "can't be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &diagnose.Facts{Node: "n1", Takes: c.own, Relay: c.relay, Peers: []fleet.Peer{{Name: "n1", Takes: c.own}, {Name: "n2", Takes: c.other, Error: c.away}}}
			expect(t, f, "limits-fleet", c.want)
		})
	}
	t.Run("alone", func(t *testing.T) {
		expect(t, &diagnose.Facts{Node: "n1", Takes: small, Peers: []fleet.Peer{{Name: "n1"}}}, "limits-fleet", want{grade: fleet.GradeNA, seen: "only node"})
	})
}
