package spfwalk

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
)

// Limits of SPF (RFC 7208 section 4.6.4).
const (
	MaxLookups = 10
	MaxVoid    = 2
)

// How far a walk goes past them before it gives up on a hostile record.
const (
	walkLookups = 40
	walkDepth   = 12
)

// Asker answers questions. An error means that it could not be told.
type Asker interface {
	Lookup(ctx context.Context, name string, kind uint16) (*dnsask.Answer, error)
}

// Walk is what was found in a record and in all that it includes.
type Walk struct {
	Lookups []string       // terms that cost one, each with the domain whose record it stands in
	Void    []string       // look-ups that find nothing
	Passes  []netip.Prefix // what passes for its address alone
	Unclear []string       // terms that go by more than the address, and so can't be followed
	Open    []string       // terms by which the whole world passes, wherever they stand
	Refuses bool           // a term besides all takes addresses out: see Covers
	All     string         // the term that ends the evaluation, as written; empty: none
	AllIn   string         // whose record All stands in
	Pointer bool           // there is a ptr, which RFC 7208 section 5.5 says not to use
	Broken  []string       // what makes the record a permanent error
	Untold  []error        // look-ups without an answer: all of the above may lack something

	asker    Asker
	families []uint16
	behind   []taken // for each of Passes, what its way took out before it
}

// Of goes through a domain's record. families are the types of address, A or AAAA or both, from which mail is sent: a look-up
// is void when it finds none of them.
func Of(ctx context.Context, asker Asker, domain, record string, families ...uint16) *Walk {
	w := &Walk{asker: asker, families: families}
	w.record(ctx, domain, record, path{passing: true, out: new(refused)})
	return w
}

// path is how a walk came to a record.
type path struct {
	depth    int
	passing  bool // what passes here makes the whole pass
	included bool // by an include, whose all ends nothing
	out      *refused
}

func (w *Walk) record(ctx context.Context, domain, record string, at path) {
	var redirect *Term
	terms := Parse(record)
	w.syntax(domain, terms)
	for _, t := range terms {
		switch {
		case len(w.Lookups) > walkLookups:
			w.broken(fmt.Sprintf("more than %d look-ups", walkLookups))
			return
		case at.depth > walkDepth:
			w.broken("its includes are nested without end")
			return
		case t.Modifier && t.Name == "redirect":
			redirect = &t
		case t.Modifier: // an unknown one is ignored (RFC 7208 section 6)
		case t.Name == "all":
			w.opens(domain, &t, at)
			if !at.included {
				w.All, w.AllIn = t.Text, domain
			}
			return // receivers look at nothing behind it, and at no redirect (RFC 7208 sections 5.1 and 6.1)
		default:
			w.mechanism(ctx, domain, &t, at)
		}
	}
	if redirect != nil {
		w.follow(ctx, domain, redirect, path{at.depth + 1, at.passing, at.included, at.out})
	}
}

func (w *Walk) mechanism(ctx context.Context, domain string, t *Term, at path) {
	passing := at.passing && t.Qualifier == '+'
	w.Refuses = w.Refuses || t.Qualifier != '+'
	switch t.Name {
	case "ip4", "ip6":
		network, good := t.Network()
		if !good {
			w.broken(domain + " has " + t.Text + ", which is no address")
		} else {
			w.matches(domain, t, network, at)
		}
	case "a", "mx":
		w.hosts(ctx, domain, t, at)
	case "include":
		next := path{at.depth + 1, passing, true, &refused{outer: at.out.now()}}
		w.follow(ctx, domain, t, next)
		if t.Qualifier != '+' { // what passes there doesn't here
			at.out.networks = append(at.out.networks, next.out.passed...)
		} else if !at.passing {
			at.out.passed = append(at.out.passed, next.out.passed...)
		}
	case "exists":
		w.exists(ctx, domain, t, at)
	case "ptr":
		w.costs(domain, t)
		w.Pointer = true
		w.Unclear = append(w.Unclear, t.Text)
	}
}

// syntax notes what receivers stop at wherever it stands, behind all too (RFC 7208 section 4.6), and that a modifier is there
// twice (section 6).
func (w *Walk) syntax(domain string, terms []Term) {
	var once []string
	for _, t := range terms {
		switch {
		case t.Modifier && (t.Name == "redirect" || t.Name == "exp"):
			if slices.Contains(once, t.Name) {
				w.broken(domain + " has " + t.Name + " more than once")
			}
			once = append(once, t.Name)
		case !t.Modifier && !slices.Contains(mechanisms, t.Name):
			w.broken(domain + " has the unknown term " + t.Text)
		}
	}
}

var mechanisms = []string{"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"}

// follow goes on with the record of another domain.
func (w *Walk) follow(ctx context.Context, domain string, t *Term, next path) {
	w.costs(domain, t)
	if !w.named(domain, t, t.Value) {
		return
	}
	answer := w.ask(ctx, t.Value, dns.TypeTXT)
	if answer == nil {
		return
	}
	if !answer.Found() {
		w.Void = append(w.Void, answer.String())
	}
	switch records := Records(answer.Texts()); len(records) {
	case 0:
		w.broken(t.Value + " has no SPF record, which makes " + t.Text + " an error")
	case 1:
		w.record(ctx, t.Value, records[0], next)
	default:
		w.broken(t.Value + " has several SPF records")
	}
}

// exists looks for any address at a name; without a macro in it everybody passes, or nobody.
func (w *Walk) exists(ctx context.Context, domain string, t *Term, at path) {
	w.costs(domain, t)
	if !w.named(domain, t, t.Value) {
		return
	}
	switch answer := w.ask(ctx, t.Value, dns.TypeA); {
	case answer == nil:
	case answer.Found():
		w.opens(domain, t, at)
	default:
		w.Void = append(w.Void, answer.String())
	}
}

// named tells whether a name can be asked for: there is one, and it doesn't depend on the mail.
func (w *Walk) named(domain string, t *Term, name string) bool {
	if strings.Contains(name, "%") {
		w.Unclear = append(w.Unclear, t.Text)
		return false
	}
	if name == "" {
		w.broken(domain + " has " + t.Text + ", which names no domain")
	}
	return name != ""
}

// ask gives an answer, or nil and notes that there was none.
func (w *Walk) ask(ctx context.Context, name string, kind uint16) *dnsask.Answer {
	answer, err := w.asker.Lookup(ctx, name, kind)
	if err != nil {
		w.Untold = append(w.Untold, err)
		return nil
	}
	return answer
}

func (w *Walk) costs(domain string, t *Term) { w.Lookups = append(w.Lookups, domain+": "+t.Text) }

func (w *Walk) broken(why string) {
	if !slices.Contains(w.Broken, why) {
		w.Broken = append(w.Broken, why)
	}
}

// matches notes what a term that goes by the address alone says of a network.
func (w *Walk) matches(domain string, t *Term, network netip.Prefix, at path) {
	switch {
	case t.Qualifier != '+':
		at.out.networks = append(at.out.networks, network)
		return
	case !at.passing:
		at.out.passed = append(at.out.passed, network)
		return
	}
	w.Passes, w.behind = append(w.Passes, network), append(w.behind, at.out.now())
	if network.Bits() == 0 {
		w.opens(domain, t, at)
	}
}

// opens notes a term that everybody matches.
func (w *Walk) opens(domain string, t *Term, at path) {
	if at.passing && t.Qualifier == '+' {
		w.Open = append(w.Open, domain+": "+t.Text)
	}
}
