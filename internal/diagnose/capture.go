package diagnose

import (
	"context"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var capture = Check{
	Name: "capture", Title: "Capture of whole conversations", Group: GroupPostfix, Needs: []Need{NeedPostfix},
	Why: "With capture the page shows each conversation as it was on the wire; without it as the log's summary lines tell. Captured conversations put a relay password into the log.",
	Run: func(_ context.Context, f *Facts) []fleet.Part {
		var on, off []*Service
		for _, name := range []string{"smtp", "relay"} {
			if s := f.Postfix.Service(name, "unix"); s != nil {
				if s.Value("debug_peer_list") != "" {
					on = append(on, s)
				} else {
					off = append(off, s)
				}
			}
		}
		parts := []fleet.Part{f.captureSet(on, off)}
		if p := passwords(on); p != nil {
			parts = append(parts, *p)
		}
		return parts
	},
}

const captureAll = "debug_peer_list=0.0.0.0/0,[::]/0"

func (f *Facts) captureSet(on, off []*Service) fleet.Part {
	p := part("mode", fleet.GradePass, "conversations are captured")
	for _, s := range append(on, off...) {
		p.Evidence = append(p.Evidence, s.Path("debug_peer_list")+" = "+s.Value("debug_peer_list"))
	}
	if f.Captured != "" {
		p.Evidence = append(p.Evidence, "the log shows capture "+f.Captured)
	}
	switch {
	case len(on) == 0 && f.Captured == "on":
		p.Grade, p.Seen = fleet.GradeWarn, "master.cf has capture off, and the log shows that Postfix still captures"
		p.Mend = []string{"Reload:", reload}
	case len(on) == 0:
		p.Grade, p.Seen = fleet.GradeNA, "capture is off: conversations are reconstructed"
		p.Mend = []string{"To switch it on, for 10 to 18 % of throughput when flat out (docs/log-follower.md):", "postconf -P 'smtp/unix/" + captureAll + "' 'smtp/unix/debug_peer_level=1' " +
			"'relay/unix/" + captureAll + "' 'relay/unix/debug_peer_level=1'", reload}
	case len(off) > 0:
		p.Grade, p.Seen = fleet.GradeWarn, "capture is on for "+on[0].Name+" and off for "+off[0].Name
		p.Mend = []string{"Make them alike, then reload:", "postconf -P '" + off[0].Name + "/unix/" + captureAll + "' '" + off[0].Name + "/unix/debug_peer_level=1'", reload}
	case f.Captured == "off":
		p.Grade, p.Seen = fleet.GradeFail, "master.cf has capture on, and the log shows none"
		p.Mend = []string{"Postfix runs on what it read before:", reload}
	}
	return p
}

// nextHop is the host of a next hop such as [relay.example.com]:587.
func nextHop(hop string) string {
	host, bracketed := strings.CutPrefix(hop, "[")
	if bracketed {
		host, _, _ = strings.Cut(host, "]")
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return first(host, "RELAY")
}

// passwords is the part for a relay password that captured conversations write into the log, or nil.
func passwords(on []*Service) *fleet.Part {
	for _, s := range on {
		maps := s.Value("smtp_sasl_password_maps")
		if maps == "" || !s.Yes("smtp_sasl_auth_enable") {
			continue
		}
		p := part("relay password", fleet.GradeWarn, "the service %s signs in to a relay while conversations are captured: the password stands in the log, where base64 hides nothing", s.Name)
		p.Evidence = []string{s.Path("smtp_sasl_password_maps") + " = " + maps}
		p.Mend = []string{"Leave the relay out of the capture (debug_peer_list takes host names too), or keep the log's readers as few as the password's. postfleet itself never stores it:",
			"postconf -P '" + s.Path("debug_peer_list") + "=!" + nextHop(s.Value("relayhost")) + " 0.0.0.0/0 [::]/0'", reload}
		return &p
	}
	return nil
}
