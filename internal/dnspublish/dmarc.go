package dnspublish

import (
	"context"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/fleet"
)

// dmarc is a domain's DMARC record. A sub-domain without one has the policy of the organisation's domain (RFC 7489 section 6.6.3);
// a record that asks for nothing would take it away.
func (p *Planner) dmarc(ctx context.Context, domain string) fleet.DNSRecord {
	const version = "v=DMARC1"
	record := p.text(ctx, fleet.DNSRecord{Domain: domain, Kind: fleet.DNSDMARC, Name: "_dmarc." + domain,
		Value: version + "; p=none; rua=mailto:dmarc-reports@" + domain}, version,
		"p=none asks for reports and changes nothing; quarantine or reject come when the reports are clean")
	above := dnsask.Organisational(domain)
	if record.Status != fleet.DNSMissing || above == domain {
		return record
	}
	switch answer, err := p.Resolver.TXT(ctx, "_dmarc."+above); {
	case err != nil:
		record.Status, record.Value = fleet.DNSUnknown, ""
		record.Text = "there is none; whether that of " + above + " holds could not be told: " + err.Error()
	case len(dnsask.Versioned(answer.Texts(), version)) == 1:
		record.Status, record.Value = fleet.DNSThere, ""
		record.Text = "the policy of _dmarc." + above + " holds for it"
	}
	return record
}
