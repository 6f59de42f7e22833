package diagnose

import (
	"context"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/fleet"
)

// policyRecord is a kind of TXT record of which a name has one or none: several make all of them void.
type policyRecord struct {
	name    string // as people call it
	version string // what it begins with
	void    string // where it says that several are void
}

// policyFound is what was found of such a record.
type policyFound struct {
	text  string // empty: there is none
	at    string // where it was looked for last
	asked []*Answer
}

// find asks for the one record at the first of the names that has any. ended is the part for a domain about which there is
// nothing more to say: DNS didn't answer, or there are several. line is what to publish then.
func (r *policyRecord) find(ctx context.Context, f *Facts, domain, line string, names ...string) (found policyFound, ended *fleet.Part) {
	for _, found.at = range names {
		txt := f.DNS.Ask(ctx, found.at, dns.TypeTXT)
		found.asked = append(found.asked, txt)
		if !txt.Known() {
			p := untold(domain, found.asked...)
			return found, &p
		}
		texts := dnsask.Versioned(txt.Texts(), r.version)
		if len(texts) > 1 {
			p := part(domain, fleet.GradeFail, "%s has several %s records, which makes all of them void (%s)", found.at, r.name, r.void)
			p.Evidence = lines(found.asked)
			p.Mend = []string{"Publish a single one:", line}
			return found, &p
		}
		if len(texts) == 1 {
			found.text = texts[0]
			break
		}
	}
	return found, nil
}
