package diagnose

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// One server that lies doesn't choose the address, however often and under however many names it speaks.
func TestAgree(t *testing.T) {
	at := func(server, addr string) Sighting { return Sighting{server, netip.MustParseAddr(addr)} }
	for _, c := range []struct {
		name string
		seen []Sighting
		want []fleet.Egress
	}{
		{"nobody", nil, nil},
		{"one", []Sighting{at("a[192.0.2.1]:25", "203.0.113.7")}, []fleet.Egress{{Address: "203.0.113.7", From: "seen by a[192.0.2.1]:25", Unsure: true}}},
		{"a liar", []Sighting{at("l[192.0.2.9]:25", "198.51.100.66"), at("m[192.0.2.9]:25", "198.51.100.66"), at("n[192.0.2.9]:25", "198.51.100.66"),
			at("a[192.0.2.1]:25", "203.0.113.7"), at("b[192.0.2.2]:25", "203.0.113.7")}, []fleet.Egress{{Address: "203.0.113.7", From: "seen by a[192.0.2.1]:25"}}},
		{"both families", []Sighting{at("a[2001:db8::1]:25", "2001:db8::7"), at("a[192.0.2.1]:25", "203.0.113.7"), {Server: "silent"}},
			[]fleet.Egress{{Address: "203.0.113.7", From: "seen by a[192.0.2.1]:25", Unsure: true}, {Address: "2001:db8::7", From: "seen by a[2001:db8::1]:25", Unsure: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Agree(c.seen)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
