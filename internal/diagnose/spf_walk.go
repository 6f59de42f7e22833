package diagnose

import (
	"context"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// spfWalk goes through a record and all that it includes, whether an address matches or not, and counts what RFC 7208
// section 4.6.4 limits.
type spfWalk struct {
	dns     *Resolver
	qtype   uint16 // A or AAAA: void look-ups differ by family
	look    int
	void    []string // look-ups that found nothing
	terms   []string // with what each costs, as evidence
	all     string   // the term that ends the evaluation, as written; empty: none
	allIn   string   // whose record it stands in
	open    []string // terms by which the whole world passes, wherever they stand
	closed  int      // includes on the way here that let nothing pass: -include and the like
	pointer bool     // a ptr mechanism, which RFC 7208 section 5.5 says not to use
	macro   bool     // a term whose name depends on the message
	broken  []string // what makes the record a permanent error
	untold  []*Answer
}

// Bounds of a walk: a record that goes past them is far over the limits anyway.
const (
	walkDepth = 12
	walkLooks = 60
)

func (w *spfWalk) domain(ctx context.Context, domain string, depth int, included bool) {
	txt := w.dns.Ask(ctx, domain, dns.TypeTXT)
	if !txt.Known() {
		w.untold = append(w.untold, txt)
		return
	}
	records := spfRecords(txt.Texts())
	if len(records) != 1 {
		if depth > 0 || len(records) > 1 {
			w.broken = append(w.broken, domain+" has "+plural(len(records), "SPF record", "SPF records"))
		}
		return
	}
	if depth > walkDepth {
		w.broken = append(w.broken, "includes are nested without end")
		return
	}
	redirect, ended := "", false
	for _, term := range strings.Fields(records[0])[1:] {
		if w.look > walkLooks {
			return
		}
		name, value := cutTerm(term)
		switch {
		case name == "redirect" && strings.Contains(term, "="):
			redirect = value
		case name == "all":
			ended = true
			if !included {
				w.all, w.allIn = term, domain
			}
			w.opens(domain, term)
		case !ended:
			w.term(ctx, domain, term, name, value, depth)
		}
	}
	if redirect != "" && !ended { // RFC 7208 section 6.1
		w.count("redirect="+redirect, domain)
		if !w.skip(redirect) {
			w.domain(ctx, redirect, depth+1, included)
		}
	}
}

// cutTerm splits a mechanism or modifier into its name and its domain, without qualifier and prefix length.
func cutTerm(term string) (name, value string) {
	term = strings.TrimLeft(term, "+-~?")
	end := strings.IndexAny(term, ":=/")
	if end < 0 {
		return strings.ToLower(term), ""
	}
	name, value = strings.ToLower(term[:end]), term[end:]
	if value[0] == '/' {
		return name, ""
	}
	value, _, _ = strings.Cut(value[1:], "/")
	return name, value
}

// opens notes a term that everybody matches.
func (w *spfWalk) opens(domain, term string) {
	if passes(term) && w.closed == 0 {
		w.open = append(w.open, domain+": "+term)
	}
}

// passes tells whether a term lets pass what it matches.
func passes(term string) bool { return !strings.ContainsAny(term[:1], "-~?") }

func (w *spfWalk) count(term, domain string) {
	w.look++
	w.terms = append(w.terms, domain+": "+term)
}

// skip tells whether a name can't be known without a message.
func (w *spfWalk) skip(name string) bool {
	if strings.Contains(name, "%") {
		w.macro = true
		return true
	}
	return false
}

func (w *spfWalk) term(ctx context.Context, domain, term, name, value string, depth int) {
	target := first(value, domain)
	switch name {
	case "include":
		w.count(term, domain)
		if w.skip(target) {
			return
		}
		if !passes(term) {
			w.closed++
			defer func() { w.closed-- }()
		}
		w.domain(ctx, target, depth+1, true)
	case "a":
		w.count(term, domain)
		if !w.skip(target) {
			w.ask(ctx, target, w.qtype)
		}
	case "mx":
		w.count(term, domain)
		if !w.skip(target) {
			if hosts := w.ask(ctx, target, dns.TypeMX); len(hosts.Records) > 10 {
				w.broken = append(w.broken, target+" has more than ten MX records")
			}
		}
	case "ptr":
		w.count(term, domain)
		w.pointer = true
	case "exists":
		w.count(term, domain)
		if !w.skip(target) {
			w.ask(ctx, target, dns.TypeA)
		}
	case "ip4", "ip6":
		if !goodNetwork(term) {
			w.broken = append(w.broken, domain+" has "+term)
		} else if strings.HasSuffix(term, "/0") {
			w.opens(domain, term)
		}
	case "exp":
	default:
		if !strings.Contains(term, "=") { // an unknown modifier is ignored (RFC 7208 section 6)
			w.broken = append(w.broken, domain+" has the unknown term "+term)
		}
	}
}

func (w *spfWalk) ask(ctx context.Context, name string, qtype uint16) *Answer {
	a := w.dns.Ask(ctx, name, qtype)
	switch {
	case !a.Known():
		w.untold = append(w.untold, a)
	case a.Status != Found:
		w.void = append(w.void, a.String())
	}
	return a
}

func goodNetwork(term string) bool {
	_, text, _ := strings.Cut(term, ":")
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(text)
	return err == nil
}
