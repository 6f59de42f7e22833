package diagnose

import (
	"context"

	"blitiri.com.ar/go/spf"

	"github.com/postfleet/postfleet/internal/fleet"
)

var spfHELO = Check{
	Name: "spf-helo", Title: "SPF of the HELO name", Group: GroupSPF, Needs: []Need{NeedResolver, NeedPostfix, NeedEgress},
	Why: "Bounces have no sender, so receivers evaluate the HELO name's SPF for them (RFC 7208 section 2.4). Without a record they tell nothing from forgeries.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		if notFull(f.HELO) != "" {
			return []fleet.Part{part(f.HELO, fleet.GradeNA, "HELO %s is no full name; see the check helo", f.HELO)}
		}
		for _, addr := range f.addresses() {
			out := f.judge(ctx, addr, f.HELO, f.HELO)
			p := out.part(addr.String(), f.HELO, addr, nil)
			if out.result == spf.None && out.txt.Known() {
				p.Grade = fleet.GradeWarn
			}
			if p.Grade != fleet.GradePass && p.Grade != fleet.GradeUnknown {
				p.Mend = []string{"Publish:", spfLine(f.HELO, "v=spf1 a -all")}
			}
			parts = append(parts, p)
		}
		return parts
	},
}
