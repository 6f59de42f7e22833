package diagnose

import (
	"context"
	"fmt"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

var port25 = Check{
	Name: "port25", Title: "Port 25 outwards", Group: GroupOut, Needs: []Need{NeedPostfix},
	Why: "Many providers block port 25 until they are asked. Nothing leaves then, and the queue fills with time-outs.",
	Run: func(ctx context.Context, f *Facts) []fleet.Part {
		tried := f.tryOutwards(ctx)
		if len(tried) == 0 {
			return []fleet.Part{f.noTarget()}
		}
		parts := make([]fleet.Part, len(tried))
		reached := 0
		for i := range tried {
			parts[i] = reach(&tried[i])
			if parts[i].Grade == fleet.GradePass {
				reached++
			}
		}
		recent := f.lately(ctx)
		for i := range parts {
			if p := &parts[i]; p.Grade == fleet.GradeFail && (reached > 0 || recent != "") {
				p.Grade, p.Mend = fleet.GradeWarn, []string{"Others are reached, so this is most likely that server's own trouble. Choose other servers in diagnose.targets if it stays."}
				if recent != "" {
					p.Evidence = append(p.Evidence, recent)
				}
			}
		}
		return parts
	},
}

// noTarget is the part where there is no server to try.
func (f *Facts) noTarget() fleet.Part {
	if f.out.err != nil {
		return *unknown("", f.out.err.Error())
	}
	p := part("", fleet.GradeNA, "no server to try: diagnose.targets is empty, and no mail went out lately")
	p.Mend = []string{"Name one or two mail servers that you may try, in milter.yaml:", "diagnose: {targets: [mx.example.net]}"}
	return p
}

func reach(o *outward) fleet.Part {
	if o.err == nil {
		p := part(o.target, fleet.GradePass, "%s answers: %s", o.server, o.banner)
		p.Evidence = o.lines
		return p
	}
	if isUntold(o.err) {
		return *unknown(o.target, o.err.Error())
	}
	p := part(o.target, fleet.GradeFail, "%s is not reached: %v", first(o.server, o.target), o.err)
	p.Evidence = o.lines
	p.Mend = []string{"Look for what blocks it, on this host first:", "nft list ruleset", "nc -vz " + o.target + " 25",
		"and ask the provider to open port 25 outwards for this host's address."}
	return p
}

// lately says that mail went out within the last hour, or nothing.
func (f *Facts) lately(ctx context.Context) string {
	if f.Recent == nil {
		return ""
	}
	recent, err := f.Recent(ctx)
	if err != nil {
		return ""
	}
	for _, relay := range recent.Relays {
		if ago := f.Now().Sub(relay.Last); ago < time.Hour {
			return fmt.Sprintf("mail went to %s %s ago", relay.Host, ago.Round(time.Second))
		}
	}
	return ""
}
