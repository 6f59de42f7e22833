package diagnose

import (
	"context"

	"github.com/postfleet/postfleet/internal/fleet"
)

var spfSelf = Check{
	Name: "spf", Title: "SPF lets this node send", Group: GroupSPF, Needs: []Need{NeedResolver, NeedEgress, NeedDomains},
	Why: "Receivers ask the sender's domain whether this address may send for it (RFC 7208). Without a pass mail is marked or refused, and DMARC " +
		"is left to DKIM alone.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, domain := range f.Domains {
			for _, addr := range f.addresses() {
				out := f.judge(ctx, addr, f.HELO, domain)
				parts = append(parts, out.part(domain+" from "+addr.String(), domain, addr, f.addresses()))
			}
		}
		return parts
	},
}
