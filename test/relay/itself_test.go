package relay

import (
	"os/exec"
	"testing"
)

// A carrier that is the destination's mail server itself keeps the mail until somebody says what delivers it, or the domain is
// elsewhere. It doesn't bounce mail that another node took.
func TestCarrierIsTheDestination(t *testing.T) {
	const own = "127.0.0.1" // an address of the instance (inet_interfaces)
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]",
		names: []map[string]string{{}, {"mine.example": own, "moves.example": own}}})
	s.ready(0, 1)
	mine, moves := s.send(0, mail("a@remote.example", "user@mine.example")), s.send(0, mail("b@remote.example", "user@moves.example"))
	for _, sender := range []string{"a@remote.example", "b@remote.example"} {
		s.until(func(ctx) error {
			return s.queued(1, sender, "This node is the domain's mail server: its best_mx_transport has to say what delivers there")
		})
	}
	s.message(s.api(0), mine, "user=deferred")

	s.must(s.nodes[1].Postfix.Name("moves.example", s.ip))
	if way := s.arrived(moves); way != "n1>n2" {
		t.Errorf("to a domain that moved: went %s, want n1>n2", way)
	}
	conf := s.nodes[1].Postfix.Conf
	if out, err := exec.CommandContext(s.ctx, "postconf", "-c", conf, "-P", "postfleet-carry/unix/best_mx_transport=smtp:["+s.ip+"]:25").CombinedOutput(); err != nil {
		t.Fatalf("postconf: %v: %s", err, out)
	}
	s.set(1, map[string]string{"relayhost": ""}) // and a reload
	if way := s.arrived(mine); way != "n1>n2" {
		t.Errorf("with a transport for it: went %s, want n1>n2", way)
	}
	for _, taken := range s.tap.Taken() {
		if taken.Sender == "" {
			t.Errorf("a notice to %s:\n%s", taken.Recipients, taken.Content)
		}
	}
}
