package diagnose

import (
	"context"
	"errors"
	"net"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

var dkimProbe = Check{
	Name: "dkim-probe", Title: "A signature verifies against live DNS", Group: GroupDKIM, Needs: []Need{NeedResolver},
	Why: "The whole chain at once, as a receiver sees it: a message is signed as mail is, and verified with the record that DNS gives at this moment.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		if f.Prove == nil {
			return nil
		}
		lookup := func(name string) ([]string, error) { return spfResolver{f.DNS}.LookupTXT(ctx, name) }
		for _, proof := range f.Prove(ctx, lookup) {
			parts = append(parts, proven(ctx, f, proof))
		}
		return parts
	},
}

func proven(ctx context.Context, f *Facts, proof Proof) fleet.Part {
	key := Key{Domain: proof.Domain, Selector: proof.Selector}
	for _, k := range f.Keys {
		if k.Domain == proof.Domain && k.Selector == proof.Selector {
			key = k
		}
	}
	subject := key.Selector + " of " + key.Domain
	txt := f.DNS.Ask(ctx, key.name(), dns.TypeTXT)
	var lookup *net.DNSError
	if !txt.Known() || errors.As(proof.Err, &lookup) && lookup.Temporary() {
		return untold(subject, txt)
	}
	p := part(subject, fleet.GradePass, "a message signed for %s with %s verifies", key.Domain, key.Selector)
	p.Evidence = []string{txt.String()}
	if proof.Err != nil {
		p.Grade, p.Seen = fleet.GradeFail, "a message signed for "+key.Domain+" with "+key.Selector+" doesn't verify: "+proof.Err.Error()
		p.Mend = []string{"Publish this one TXT record; the check dkim-record says what is wrong with the one that is there:", key.zoneLine()}
	}
	return p
}
