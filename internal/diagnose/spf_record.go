package diagnose

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

// spfOutcome is what a receiver would find for mail from an address.
type spfOutcome struct {
	result spf.Result
	err    error
	record string  // the domain's own; empty: none, or several
	txt    *Answer // of the domain
}

// judge evaluates a domain's SPF for an address as a receiver does.
func (f *Facts) judge(ctx context.Context, addr netip.Addr, helo, domain string) spfOutcome {
	out := spfOutcome{txt: f.DNS.Ask(ctx, domain, dns.TypeTXT)}
	if records := spfwalk.Records(out.txt.Texts()); len(records) == 1 {
		out.record = records[0]
	}
	out.result, out.err = spf.CheckHostWithSender(net.IP(addr.AsSlice()), first(helo, domain), "postmaster@"+domain,
		spf.WithContext(ctx), spf.WithResolver(spfResolver{f.DNS}))
	return out
}

// part words an outcome. addresses are those that a record for the domain has to hold.
func (o *spfOutcome) part(subject, domain string, addr netip.Addr, addresses []netip.Addr) fleet.Part {
	if o.result == spf.TempError || !o.txt.Known() {
		return untoldSPF(subject, o)
	}
	p := part(subject, fleet.GradeFail, "")
	p.Evidence = []string{o.txt.String()}
	if o.err != nil {
		p.Evidence = append(p.Evidence, "evaluated for "+addr.String()+": "+string(o.result)+", "+o.err.Error())
	}
	switch o.result {
	case spf.Pass:
		p.Grade, p.Seen = fleet.GradePass, domain+" lets "+addr.String()+" send"
		return p
	case spf.None:
		p.Seen = domain + " has no SPF record"
	case spf.PermError:
		p.Seen = domain + " has an SPF record that can't be evaluated: " + permWords(o)
	case spf.Neutral:
		p.Grade, p.Seen = fleet.GradeWarn, domain+" says nothing about "+addr.String()+": neutral"
	case spf.SoftFail:
		p.Seen = domain + " doesn't name " + addr.String() + ": softfail"
	default:
		p.Seen = domain + " forbids " + addr.String() + " to send: " + string(o.result)
	}
	p.Mend = []string{"Publish one SPF record for " + domain + ":", spfLine(domain, proposeSPF(o.record, addresses))}
	if o.result == spf.PermError && len(spfwalk.Records(o.txt.Texts())) > 1 {
		p.Mend[0] = "Publish a single SPF record for " + domain + ", with the terms of all:"
	}
	return p
}

func permWords(o *spfOutcome) string {
	switch {
	case len(spfwalk.Records(o.txt.Texts())) > 1:
		return "there are several, which makes all of them void (RFC 7208 section 4.5)"
	case errors.Is(o.err, spf.ErrLookupLimitReached):
		return "it needs more than ten look-ups (RFC 7208 section 4.6.4)"
	case errors.Is(o.err, spf.ErrVoidLookupLimitReached):
		return "more than two of its look-ups find nothing (RFC 7208 section 4.6.4)"
	case o.err != nil:
		return o.err.Error()
	}
	return "permanent error"
}

func untoldSPF(subject string, o *spfOutcome) fleet.Part {
	p := *unknown(subject, "a look-up of its SPF record got no answer")
	if !o.txt.Known() {
		return untold(subject, o.txt)
	}
	p.Evidence = []string{o.txt.String()}
	if o.err != nil {
		p.Evidence = append(p.Evidence, o.err.Error())
	}
	return p
}

func spfLine(domain, record string) string { return domain + ". IN TXT " + dnsask.Quote(record) }

// proposeSPF puts the addresses that a record lacks in front, where they cost no look-up and nothing before them can fail, and
// ends it so that nobody else passes. Without a record it makes one, as DNS to publish does.
func proposeSPF(record string, addresses []netip.Addr) string {
	if record == "" {
		return spfwalk.First(addresses)
	}
	var kept []string
	var there []netip.Prefix
	end, redirect, ended := spfwalk.End, "", false
	for _, t := range spfwalk.Parse(record) {
		network, isAddress := t.Network()
		switch {
		case t.Modifier && t.Name == "redirect":
			redirect = t.Text
		case t.Modifier:
			kept = append(kept, t.Text)
		case ended: // receivers look at nothing behind all: it must not begin to count
		case t.Name == "all":
			if ended = true; t.Qualifier == '-' || t.Qualifier == '~' {
				end = t.Text
			}
		default:
			kept = append(kept, t.Text)
			if isAddress && t.Qualifier == '+' {
				there = append(there, network)
			}
		}
	}
	if redirect != "" && !ended {
		end = redirect
	}
	words := []string{"v=spf1"}
	for _, addr := range addresses {
		if !slices.ContainsFunc(there, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			network := netip.PrefixFrom(addr, addr.BitLen())
			words, there = append(words, spfwalk.Mechanism(network)), append(there, network)
		}
	}
	return strings.Join(append(append(words, kept...), end), " ")
}

// spfResolver lets the SPF library ask our resolver. What isn't known is a temporary error, so that the result is too.
type spfResolver struct{ r *Resolver }

func (s spfResolver) ask(ctx context.Context, name string, qtype uint16) (*Answer, error) {
	a := s.r.Ask(ctx, name, qtype)
	return a, dnsError(a)
}

// dnsError is an answer without records as package net tells it.
func dnsError(a *Answer) error {
	switch {
	case !a.Known():
		return &net.DNSError{Err: string(a.Untold.Reason), Name: a.Name, Server: a.Untold.Server, IsTemporary: true,
			IsTimeout: a.Untold.Reason == dnsask.Timeout}
	case a.Found():
		return nil
	}
	return &net.DNSError{Err: "no such record", Name: a.Name, Server: a.Server, IsNotFound: true}
}

// LookupTXT implements [spf.DNSResolver].
func (s spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := s.ask(ctx, name, dns.TypeTXT)
	return a.Texts(), err
}

// LookupMX implements [spf.DNSResolver].
func (s spfResolver) LookupMX(ctx context.Context, name string) (list []*net.MX, err error) {
	a, err := s.ask(ctx, name, dns.TypeMX)
	for _, rr := range a.Records {
		if mx, ok := rr.(*dns.MX); ok {
			list = append(list, &net.MX{Host: mx.Mx, Pref: mx.Preference})
		}
	}
	return list, err
}

// LookupIPAddr implements [spf.DNSResolver].
func (s spfResolver) LookupIPAddr(ctx context.Context, host string) (list []net.IPAddr, err error) {
	a4, err4 := s.ask(ctx, host, dns.TypeA)
	a6, err6 := s.ask(ctx, host, dns.TypeAAAA)
	for _, text := range append(a4.Texts(), a6.Texts()...) {
		list = append(list, net.IPAddr{IP: net.ParseIP(text)})
	}
	switch {
	case !a4.Known():
		return nil, err4
	case !a6.Known():
		return nil, err6
	case len(list) == 0:
		return nil, err4
	}
	return list, nil
}

// LookupAddr implements [spf.DNSResolver].
func (s spfResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	parsed, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	a, err := s.ask(ctx, reverseName(parsed.Unmap()), dns.TypePTR)
	return a.Texts(), err
}
