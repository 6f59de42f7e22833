package node

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// What is configured goes first, then what Postfix binds, if the world can see that, then what servers greet.
func TestEgress(t *testing.T) {
	const greeting = "mx.far.test at your service, [203.0.113.7]"
	seen := []fleet.Egress{{Address: "203.0.113.7", From: "seen by mx.far.test[192.0.2.1]:25", Unsure: true}}
	for _, c := range []struct {
		name       string
		configured []string
		main       string
		greeting   string
		want       []fleet.Egress
	}{
		{"configured", []string{"198.51.100.1", "2001:db8::1"}, "smtp_bind_address = 198.51.100.9\n", greeting,
			[]fleet.Egress{{Address: "198.51.100.1", From: "configured"}, {Address: "2001:db8::1", From: "configured"}}},
		{"bound", nil, "smtp_bind_address = 198.51.100.9\ninet_protocols = ipv4\n", greeting, []fleet.Egress{{Address: "198.51.100.9", From: "bound by Postfix"}}},
		{"behind NAT", nil, "smtp_bind_address = 10.0.0.9\ninet_protocols = ipv4\n", greeting, seen},
		{"bound to IPv6", nil, "smtp_bind_address6 = 2001:db8::9\ninet_protocols = ipv6\n", greeting, []fleet.Egress{{Address: "2001:db8::9", From: "bound by Postfix"}}},
		{"greeted", nil, "inet_protocols = ipv4\n", greeting, seen},
	} {
		t.Run(c.name, func(t *testing.T) {
			postfix, err := diagnose.ParsePostfix("mail_version = 3.7.11\n"+c.main, "smtp unix - - n - - smtp\n", "")
			if err != nil {
				t.Fatal(err)
			}
			settings := config.DefaultMilter()
			settings.Node.Addresses = c.configured
			facts := &diagnose.Facts{Postfix: postfix, Recent: func(context.Context) (*diagnose.Recent, error) {
				return &diagnose.Recent{Greetings: []diagnose.Greeting{{Peer: "mx.far.test[192.0.2.1]:25", Lines: []string{c.greeting}}}}, nil
			}}
			if diff := cmp.Diff(c.want, (&inquiry{config: &settings}).egress(t.Context(), facts)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
