package dnspublish

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Planner works out which records a fleet needs, and how they stand.
type Planner struct {
	Resolver *Resolver
	// Compare holds a DKIM record against the texts at its name; package dkim has it.
	Compare func(want string, texts []string) (fleet.KeyRecord, string)
	Now     func() time.Time
}

// Plan looks everything up at once. Domains and addresses are bounded by the fleet; the context bounds the time.
func (p *Planner) Plan(ctx context.Context, needs *fleet.DNSNeeds) *fleet.DNSPlan {
	egress, problems := visible(needs.Egress)
	plan := &fleet.DNSPlan{At: p.Now().UTC(), Domains: needs.Domains, Egress: egress, Records: []fleet.DNSRecord{},
		Problems: slices.Concat(needs.Problems, problems)}
	if len(plan.Domains) == 0 {
		plan.Domains = domains(needs.Keys)
	}
	byDomain := make([][]fleet.DNSRecord, len(plan.Domains))
	plan.SPF = make([]fleet.SPFPlan, len(plan.Domains))
	var pointers []fleet.DNSRecord
	var all sync.WaitGroup
	for i, domain := range plan.Domains {
		all.Go(func() { byDomain[i], plan.SPF[i] = p.domain(ctx, domain, needs.Keys, egress) })
	}
	all.Go(func() { pointers = p.pointers(ctx, egress) })
	all.Wait()
	plan.Records = append(append(plan.Records, slices.Concat(byDomain...)...), pointers...)
	return plan
}

func domains(keys []fleet.Key) []string {
	names := []string{}
	for i := range keys {
		if keys[i].Stage != fleet.StageRetired && !slices.Contains(names, keys[i].Domain) {
			names = append(names, keys[i].Domain)
		}
	}
	slices.Sort(names)
	return names
}

func (p *Planner) domain(ctx context.Context, domain string, keys []fleet.Key, egress []fleet.SendingAddress) ([]fleet.DNSRecord, fleet.SPFPlan) {
	var records []fleet.DNSRecord
	for i := range keys {
		if key := &keys[i]; key.Domain == domain {
			if key.Stage == fleet.StageRetired && inUse(keys, key.Name) {
				continue // another node's record now, and not removable
			}
			if record := p.key(ctx, key); record.Status != "" {
				records = append(records, record)
			}
		}
	}
	spf, record := p.planSPF(ctx, domain, egress)
	records = append(records, record, p.dmarc(ctx, domain))
	for _, advice := range []struct {
		kind                       fleet.DNSKind
		name, value, version, text string
	}{
		{fleet.DNSMTASTS, "_mta-sts." + domain, "v=STSv1; id=" + p.Now().UTC().Format("20060102150405"), "v=STSv1",
			"for mail that the domain receives: https://mta-sts." + domain + "/.well-known/mta-sts.txt has to be there first (RFC 8461)"},
		{fleet.DNSTLSRPT, "_smtp._tls." + domain, "v=TLSRPTv1; rua=mailto:tls-reports@" + domain, "v=TLSRPTv1",
			"others report how their TLS to the domain went (RFC 8460)"},
	} {
		one := p.text(ctx, fleet.DNSRecord{Domain: domain, Kind: advice.kind, Name: advice.name, Value: advice.value, Advice: true},
			advice.version, advice.text)
		records = append(records, one)
	}
	return records, spf
}

// inUse tells whether a key that isn't retired, on whichever node, has the record of that name.
func inUse(keys []fleet.Key, name string) bool {
	return slices.ContainsFunc(keys, func(k fleet.Key) bool { return k.Stage != fleet.StageRetired && strings.EqualFold(k.Name, name) })
}

// key is the record of a DKIM key, or nothing for a retired one whose record has gone.
func (p *Planner) key(ctx context.Context, key *fleet.Key) fleet.DNSRecord {
	record := fleet.DNSRecord{Domain: key.Domain, Kind: fleet.DNSDKIM, Name: key.Name, Type: "TXT", Value: key.Text, Nodes: []string{key.Node}}
	answer, err := p.Resolver.TXT(ctx, key.Name)
	if err != nil {
		record.Status, record.Text = fleet.DNSUnknown, "could not tell: "+err.Error()
	} else {
		p.compare(&record, answer.Texts())
	}
	switch {
	case key.Stage == fleet.StageRetired && record.Status == fleet.DNSUnknown:
		record.Value = "" // it may be there still, and must not be put there again
		record.Text += "; the key is retired, and nothing needs the record"
	case key.Stage == fleet.StageRetired && record.Status != fleet.DNSThere:
		return fleet.DNSRecord{}
	case key.Stage == fleet.StageRetired:
		record.Status, record.Text = fleet.DNSRemovable, "nothing under way was signed with it any more"
	case key.Stage == fleet.StageRetiring:
		if record.Text != "" {
			record.Text += "; "
		}
		record.Text += "must stay until " + key.Removable.UTC().Format("2006-01-02 15:04 MST")
	}
	return record
}

// compare says how the record of a key stands, given what DNS has at its name.
func (p *Planner) compare(record *fleet.DNSRecord, texts []string) {
	found, words := p.Compare(record.Value, texts)
	record.Seen, record.Text = texts, words
	switch found {
	case fleet.RecordMatches:
		record.Status = fleet.DNSThere
	case fleet.RecordDiffers:
		record.Status = fleet.DNSDiffers
	case fleet.RecordUnknown:
		record.Status = fleet.DNSUnknown
	default:
		record.Status, record.Text = fleet.DNSMissing, ""
	}
}

// text is a record of which one with the right version is enough: what it says is the administrator's.
func (p *Planner) text(ctx context.Context, record fleet.DNSRecord, version, why string) fleet.DNSRecord {
	record.Type = "TXT"
	answer, err := p.Resolver.TXT(ctx, record.Name)
	if err != nil {
		record.Status, record.Text = fleet.DNSUnknown, "could not tell: "+err.Error()
		return record
	}
	record.Seen = dnsask.Versioned(answer.Texts(), version)
	switch len(record.Seen) {
	case 0:
		record.Status, record.Text = fleet.DNSMissing, why
	case 1:
		record.Status, record.Value = fleet.DNSThere, record.Seen[0]
	default:
		record.Status, record.Text = fleet.DNSDiffers, "there are several, so that receivers use none: leave one"
	}
	return record
}

// pointers are the PTR records, which only the owner of the addresses can set.
func (p *Planner) pointers(ctx context.Context, egress []fleet.SendingAddress) []fleet.DNSRecord {
	records := make([]fleet.DNSRecord, len(egress))
	var all sync.WaitGroup
	for i := range egress {
		all.Go(func() { records[i] = p.pointer(ctx, &egress[i]) })
	}
	all.Wait()
	return slices.DeleteFunc(records, func(r fleet.DNSRecord) bool { return r.Name == "" })
}

func (p *Planner) pointer(ctx context.Context, from *fleet.SendingAddress) fleet.DNSRecord {
	reverse, err := dns.ReverseAddr(from.Address)
	if err != nil {
		return fleet.DNSRecord{}
	}
	record := fleet.DNSRecord{Kind: fleet.DNSPTR, Name: strings.TrimSuffix(reverse, "."), Type: "PTR", Value: from.Hostname,
		Nodes: []string{from.Node}, Status: fleet.DNSThere}
	answer, err := p.Resolver.Lookup(ctx, record.Name, dns.TypePTR)
	if err != nil {
		record.Status, record.Text = fleet.DNSUnknown, "could not tell: "+err.Error()
		return record
	}
	names := answer.Names()
	record.Seen = names
	if len(names) == 0 {
		record.Status = fleet.DNSMissing
		record.Text = "the provider of the address " + from.Address + " sets it"
		return record
	}
	addr, _ := netip.ParseAddr(from.Address)
	for _, name := range names {
		switch matches, err := p.forward(ctx, name, addr); {
		case err != nil:
			record.Status, record.Text = fleet.DNSUnknown, "could not tell whether "+name+" leads back: "+err.Error()
			return record
		case matches:
			record.Text = ""
			if !strings.EqualFold(name, strings.TrimSuffix(from.Hostname, ".")) {
				record.Text = fmt.Sprintf("it says %s, and the node calls itself %s: they should agree", name, from.Hostname)
			}
			record.Value = name
			return record
		}
	}
	record.Status = fleet.DNSDiffers
	record.Text = strings.Join(names, ", ") + " doesn't lead back to " + from.Address
	return record
}

func (p *Planner) forward(ctx context.Context, name string, addr netip.Addr) (bool, error) {
	kind := dns.TypeA
	if addr.Is6() {
		kind = dns.TypeAAAA
	}
	answer, err := p.Resolver.Lookup(ctx, name, kind)
	if err != nil {
		return false, err
	}
	return slices.Contains(answer.Addrs(), addr), nil
}

// Public tells whether the world may see mail come from an address: no private, loopback or link-local one.
func Public(text string) bool {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	return addr.Zone() == "" && addr.IsGlobalUnicast() && !addr.IsPrivate() && !carrierGrade.Contains(addr)
}

// carrierGrade is the shared address space of RFC 6598.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")
