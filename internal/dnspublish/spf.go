package dnspublish

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Limits of SPF (RFC 7208 section 4.6.4), and how far a walk goes past them before it gives up on a hostile record.
const (
	maxSPFLookups = 10
	maxSPFVoid    = 2
	maxSPFWalk    = 40
	maxSPFDepth   = 12
)

// term is a mechanism or modifier of an SPF record.
type term struct {
	text      string // as written
	qualifier byte   // + - ~ ?
	name      string // lower case: ip4, include, redirect
	value     string // behind : or =; for a and mx with their prefix lengths
	modifier  bool
}

func isSPF(text string) bool {
	version, _, _ := strings.Cut(text, " ")
	return strings.EqualFold(version, "v=spf1")
}

// unprintable tells whether a record has more than printable ASCII.
func unprintable(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

func parseSPF(text string) (terms []term) {
	fields := strings.Fields(text)
	for _, field := range fields[min(1, len(fields)):] {
		t := term{text: field, qualifier: '+'}
		rest := field
		if strings.IndexByte("+-~?", rest[0]) >= 0 {
			t.qualifier, rest = rest[0], rest[1:]
		}
		cut := strings.IndexAny(rest, ":=/")
		switch {
		case cut < 0:
			t.name = rest
		case rest[cut] == '=':
			t.name, t.value, t.modifier = rest[:cut], rest[cut+1:], true
		case rest[cut] == '/':
			t.name, t.value = rest[:cut], rest[cut:]
		default:
			t.name, t.value = rest[:cut], rest[cut+1:]
		}
		t.name = strings.ToLower(t.name)
		terms = append(terms, t)
	}
	return terms
}

// spfWalk follows a record as a receiver does at worst: every mechanism is evaluated.
type spfWalk struct {
	resolver      *Resolver
	lookups, void int
	passes        []netip.Prefix // what passes
	unclear       []string       // mechanisms whose addresses depend on the mail
	failure       error          // a look-up without an answer: the result isn't known
	wrong         string         // what makes it a permanent error
}

// walk follows the record of a domain. counts tells whether its mechanisms that pass make the whole pass.
func (w *spfWalk) walk(ctx context.Context, domain, record string, counts bool, depth int) {
	redirect := term{}
	for _, t := range parseSPF(record) {
		if depth > maxSPFDepth || w.lookups > maxSPFWalk {
			w.wrong = fmt.Sprintf("more than %d look-ups", maxSPFWalk)
			return
		}
		passing := counts && t.qualifier == '+'
		switch t.name {
		case "ip4", "ip6":
			if prefix, ok := spfPrefix(t.value); ok && passing {
				w.passes = append(w.passes, prefix)
			} else if !ok {
				w.wrong = t.text + " is no address"
			}
		case "a", "mx":
			w.hosts(ctx, domain, t, passing)
		case "include":
			w.follow(ctx, t, passing, depth)
		case "redirect":
			redirect = t
		case "exists", "ptr":
			w.lookups++
			w.unclear = append(w.unclear, t.text)
		case "all":
			if t.qualifier == '+' && depth == 0 {
				w.wrong = "+all lets the whole world send for the domain"
			}
			return // receivers look at nothing behind it, and at no redirect (RFC 7208 sections 5.1 and 6.1)
		default:
			if !t.modifier {
				w.wrong = t.text + " is no mechanism of SPF"
			}
		}
	}
	if redirect.value != "" {
		w.follow(ctx, redirect, counts, depth)
	}
}

// follow goes on with the record of another domain.
func (w *spfWalk) follow(ctx context.Context, t term, counts bool, depth int) {
	w.lookups++
	if strings.Contains(t.value, "%") {
		w.unclear = append(w.unclear, t.text)
		return
	}
	if next, ok := w.record(ctx, t.value); ok {
		w.walk(ctx, t.value, next, counts, depth+1)
	}
}

// record is the SPF record of another domain.
func (w *spfWalk) record(ctx context.Context, domain string) (string, bool) {
	answer, err := w.resolver.TXT(ctx, domain)
	if err != nil {
		w.failure = err
		return "", false
	}
	found := slices.DeleteFunc(slices.Clone(answer.Texts), func(text string) bool { return !isSPF(text) })
	if len(answer.Texts) == 0 {
		w.void++
	}
	switch len(found) {
	case 1:
		return found[0], true
	case 0:
		w.wrong = domain + " has no SPF record, which makes including it an error"
	default:
		w.wrong = domain + " has several SPF records"
	}
	return "", false
}

// hosts follows a and mx: one look-up each, and one more for each exchanger, which RFC 7208 counts apart.
func (w *spfWalk) hosts(ctx context.Context, domain string, t term, passing bool) {
	w.lookups++
	target, lengths, _ := strings.Cut(t.value, "/")
	if strings.Contains(target, "%") {
		w.unclear = append(w.unclear, t.text)
		return
	}
	names := []string{target}
	if target == "" {
		names = []string{domain}
	}
	if t.name == "mx" {
		answer, err := w.resolver.Lookup(ctx, names[0], dns.TypeMX)
		if err != nil {
			w.failure = err
			return
		}
		names = answer.MX[:min(len(answer.MX), 10)]
		if len(names) == 0 {
			w.void++
		}
	}
	for _, name := range names {
		w.addresses(ctx, name, lengths, passing, t.name == "a")
	}
}

func (w *spfWalk) addresses(ctx context.Context, name, lengths string, passing, voids bool) {
	four, six, _ := strings.Cut(lengths, "//")
	if strings.HasPrefix(lengths, "/") {
		four, six = "", strings.TrimPrefix(lengths, "/")
	}
	var found int
	for kind, length := range map[uint16]string{dns.TypeA: four, dns.TypeAAAA: six} {
		answer, err := w.resolver.Lookup(ctx, name, kind)
		if err != nil {
			w.failure = err
			return
		}
		for _, addr := range answer.Addrs {
			found++
			bits := addr.BitLen()
			if length != "" {
				if _, err := fmt.Sscanf(length, "%d", &bits); err != nil || bits < 0 || bits > addr.BitLen() {
					w.wrong = "a wrong prefix length: " + length
					return
				}
			}
			if passing {
				w.passes = append(w.passes, netip.PrefixFrom(addr, bits).Masked())
			}
		}
	}
	if found == 0 && voids {
		w.void++
	}
}

func spfPrefix(text string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), true
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, addr.BitLen()), true
}

func (w *spfWalk) covers(addr netip.Addr) bool {
	return slices.ContainsFunc(w.passes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// planSPF says how a domain's record has to change so that every address passes. What is there stays; the addresses go in
// front, where they cost no look-up and nothing before them can fail.
func (p *Planner) planSPF(ctx context.Context, domain string, egress []fleet.SendingAddress) (fleet.SPFPlan, fleet.DNSRecord) {
	plan := fleet.SPFPlan{Domain: domain}
	record := fleet.DNSRecord{Domain: domain, Kind: fleet.DNSSPF, Name: domain, Type: "TXT", Status: fleet.DNSThere}
	answer, err := p.Resolver.TXT(ctx, domain)
	if err != nil {
		record.Status, record.Text = fleet.DNSUnknown, "could not tell: "+err.Error()
		plan.Text = record.Text
		return plan, record
	}
	for _, text := range answer.Texts {
		if isSPF(text) {
			record.Seen = append(record.Seen, text)
		}
	}
	walk := &spfWalk{resolver: p.Resolver}
	switch {
	case slices.ContainsFunc(record.Seen, unprintable):
		// What is proposed is copied into zone files and shells, so nothing of such a record goes on.
		record.Status = fleet.DNSDiffers
		plan.Text = "the record has characters that SPF doesn't know (RFC 7208 section 12): write it anew, by hand"
		record.Text = plan.Text
		return plan, record
	case len(record.Seen) == 0:
		record.Status, plan.Missing = fleet.DNSMissing, egress
		plan.Proposed = "v=spf1 " + strings.Join(mechanisms(egress), " ") + " ~all"
		plan.Text = "there is no SPF record; ~all is for a start, -all once nothing else sends for the domain"
		if len(egress) == 0 {
			plan.Proposed = "v=spf1 ~all"
		}
	case len(record.Seen) == 1:
		plan.Now = record.Seen[0]
		walk.walk(ctx, domain, plan.Now, true, 0)
		p.addMissing(&plan, &record, walk, egress)
	default:
		record.Status = fleet.DNSDiffers
		plan.Text = "there are several SPF records, which receivers take for an error (RFC 7208 section 4.5): make them one, by hand"
		record.Text = plan.Text
		return plan, record
	}
	plan.Lookups, plan.Void = walk.lookups, walk.void
	p.judgeSPF(&plan, &record, walk)
	p.shorten(ctx, &plan, egress)
	record.Value = plan.Proposed
	if record.Text == "" {
		record.Text = plan.Text
	}
	return plan, record
}

func (p *Planner) addMissing(plan *fleet.SPFPlan, record *fleet.DNSRecord, walk *spfWalk, egress []fleet.SendingAddress) {
	for _, one := range egress {
		if addr, err := netip.ParseAddr(one.Address); err == nil && !walk.covers(addr) {
			plan.Missing = append(plan.Missing, one)
		}
	}
	plan.Proposed = plan.Now
	if len(plan.Missing) == 0 {
		return
	}
	if walk.failure != nil {
		record.Status, record.Text = fleet.DNSUnknown, "could not tell whether every node is in it: "+walk.failure.Error()
		plan.Missing = nil
		return
	}
	version, rest, _ := strings.Cut(plan.Now, " ")
	plan.Proposed = strings.TrimSpace(version + " " + strings.Join(mechanisms(plan.Missing), " ") + " " + strings.TrimSpace(rest))
	record.Status = fleet.DNSDiffers
	names := make([]string, len(plan.Missing))
	for i, one := range plan.Missing {
		names[i] = one.Node + " (" + one.Address + ")"
	}
	plan.Text = "receivers don't accept mail from " + strings.Join(names, ", ")
	if len(walk.unclear) > 0 {
		plan.Text += ", unless " + strings.Join(walk.unclear, " ") + " lets them, which can't be told from here"
	}
}

// judgeSPF adds what is wrong with the record besides.
func (p *Planner) judgeSPF(plan *fleet.SPFPlan, record *fleet.DNSRecord, walk *spfWalk) {
	add := func(format string, args ...any) {
		if plan.Text != "" {
			plan.Text += "; "
		}
		plan.Text += fmt.Sprintf(format, args...)
		if record.Status == fleet.DNSThere {
			record.Status = fleet.DNSDiffers
		}
	}
	if walk.failure != nil && record.Status == fleet.DNSThere {
		record.Status, record.Text = fleet.DNSUnknown, "every node is in it; how many look-ups it takes could not be told: "+walk.failure.Error()
	}
	if walk.wrong != "" {
		add("%s", walk.wrong)
	}
	if walk.lookups > maxSPFLookups {
		add("it takes %d look-ups, and receivers stop at %d with an error (RFC 7208 section 4.6.4)", walk.lookups, maxSPFLookups)
	}
	if walk.void > maxSPFVoid {
		add("%d of its look-ups find nothing, and receivers stop at %d with an error", walk.void, maxSPFVoid)
	}
}

func mechanisms(egress []fleet.SendingAddress) (list []string) {
	for _, one := range egress {
		addr, err := netip.ParseAddr(one.Address)
		if err != nil {
			continue
		}
		text := mechanism(netip.PrefixFrom(addr, addr.BitLen()))
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

func mechanism(prefix netip.Prefix) string {
	kind := "ip4:"
	if prefix.Addr().Is6() {
		kind = "ip6:"
	}
	if prefix.IsSingleIP() {
		return kind + prefix.Addr().String()
	}
	return kind + prefix.String()
}
