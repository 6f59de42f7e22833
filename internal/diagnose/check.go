package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Check is one thing that is looked at. Its name is for ever: histories and alerts hold it.
type Check struct {
	Name  string // small letters and hyphens
	Title string
	Group Group
	Needs []Need
	Why   string // one or two sentences for somebody who wonders whether it matters
	// Run gives one part for each thing that it looked at; none: there was nothing to look at, so it doesn't apply. It ends
	// soon after its context.
	Run func(ctx context.Context, f *Facts) []fleet.Part
}

// Group is where a check stands in the matrix.
type Group string

// The groups, in the order of the matrix.
const (
	GroupAddress Group = "Address and name"
	GroupSPF     Group = "SPF"
	GroupDKIM    Group = "DKIM"
	GroupPolicy  Group = "DMARC and transport policy"
	GroupOut     Group = "Way out"
	GroupPostfix Group = "Postfix"
	GroupHost    Group = "Host"
)

// Need is what a check can't do without. The runner answers for a check whose need isn't met.
type Need int

// The needs.
const (
	NeedResolver Need = iota // a resolver that answers and doesn't lie
	NeedPostfix              // postconf(1)'s answer
	NeedEgress               // an address from which mail leaves
	NeedDomains              // a domain that sends
	NeedFleet                // the other nodes
)

// unmet is the part that stands for a check whose need isn't met, or nil.
func (f *Facts) unmet(ctx context.Context, n Need) *fleet.Part {
	switch {
	case n == NeedResolver && f.DNS.trouble(ctx) != "":
		return unknown("", "no resolver can be asked: "+f.DNS.trouble(ctx))
	case n == NeedPostfix && f.Postfix == nil:
		return unknown("", "Postfix's settings can't be read: "+f.PostfixProblem)
	case n == NeedEgress && len(f.Egress) == 0:
		part := unknown("", "the address from which mail leaves isn't known: Postfix binds none, the host has no public one, and no "+
			"remote server has named it yet")
		part.Mend = []string{"Set in milter.yaml:", "node: {addresses: [ADDRESS]}"}
		return part
	case n == NeedDomains && len(f.Domains) == 0:
		return &fleet.Part{Grade: fleet.GradeNA, Seen: "no sending domain is known: the node has no DKIM key, and diagnose.domains is empty"}
	case n == NeedFleet && len(f.others()) == 0:
		return f.alone()
	}
	return nil
}

// finding runs one check.
func (c *Check) finding(ctx context.Context, f *Facts) fleet.Finding {
	found := fleet.Finding{Check: c.Name, Title: c.Title, Group: string(c.Group), Why: c.Why}
	found.Parts = worst(c.parts(ctx, f))
	found.Parts = found.Parts[:min(len(found.Parts), mostParts)]
	for i := range found.Parts {
		bound(&found.Parts[i])
	}
	found.Grade = gravest(found.Parts)
	return found
}

func (c *Check) parts(ctx context.Context, f *Facts) (parts []fleet.Part) {
	defer func() {
		if panicked := recover(); panicked != nil { // one check must not take the others along
			parts = []fleet.Part{*unknown("", fmt.Sprintf("the check itself failed: %v", panicked))}
		}
	}()
	for _, need := range c.Needs {
		if part := f.unmet(ctx, need); part != nil {
			return []fleet.Part{*part}
		}
	}
	parts = c.Run(ctx, f)
	if ctx.Err() != nil { // what was found under a context that ended may be its end
		for i := range parts {
			if parts[i].Grade == fleet.GradeFail || parts[i].Grade == fleet.GradePass {
				parts[i].Grade, parts[i].Seen = fleet.GradeUnknown, "the check took too long; so far: "+parts[i].Seen
			}
		}
	}
	if len(parts) == 0 {
		parts = []fleet.Part{{Grade: fleet.GradeNA, Seen: "there is nothing to look at"}}
	}
	return parts
}

// Bounds of what a check may say: it quotes strangers.
const (
	mostParts = 200
	mostLines = 40
	mostText  = 2000
	mostMend  = 16000 // the longest record that is proposed, with room
)

// bound keeps what strangers answer within bounds.
func bound(p *fleet.Part) {
	cut := func(text string, most int) string {
		if len(text) > most {
			text = text[:most] + "…"
		}
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	all := func(texts []string, most int) []string {
		if more := len(texts) - mostLines; more > 0 {
			texts = append(texts[:mostLines:mostLines], fmt.Sprintf("and %d lines more", more))
		}
		for i := range texts {
			texts[i] = cut(texts[i], most)
		}
		return texts
	}
	p.Seen, p.Evidence, p.Mend = cut(p.Seen, mostText), all(p.Evidence, mostText), all(p.Mend, mostMend)
}

func gravest(parts []fleet.Part) fleet.Grade {
	grade := fleet.GradeNA
	for i := range parts {
		if parts[i].Grade.Graver(grade) {
			grade = parts[i].Grade
		}
	}
	return grade
}

func part(subject string, grade fleet.Grade, format string, args ...any) fleet.Part {
	return fleet.Part{Subject: subject, Grade: grade, Seen: fmt.Sprintf(format, args...)}
}

func unknown(subject, why string) *fleet.Part {
	return &fleet.Part{Subject: subject, Grade: fleet.GradeUnknown, Seen: "could not tell: " + why}
}

// untold is the part for questions of which DNS didn't answer some.
func untold(subject string, answers ...*Answer) fleet.Part {
	var why []error
	for _, a := range answers {
		if !a.Known() {
			why = append(why, a.Untold)
		}
	}
	p := unanswered(subject, why)
	p.Evidence = lines(answers)
	return p
}

// unanswered is the part for questions that DNS didn't answer.
func unanswered(subject string, why []error) fleet.Part {
	return *unknown(subject, dnsask.Together(why).Error())
}

// worst sorts parts so that the gravest comes first, and otherwise leaves them.
func worst(parts []fleet.Part) []fleet.Part {
	slices.SortStableFunc(parts, func(a, b fleet.Part) int {
		switch {
		case a.Grade.Graver(b.Grade):
			return -1
		case b.Grade.Graver(a.Grade):
			return 1
		}
		return 0
	})
	return parts
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// only gives those checks that were asked for, in the order of the table. An unknown name is an error.
func only(all []Check, names []string) ([]Check, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []Check
	for _, name := range names {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.Name == name }) {
			return nil, fleet.Invalid("checks", "no check %q", name[:min(len(name), 40)])
		}
	}
	for _, c := range all {
		if slices.Contains(names, c.Name) {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// first is the first text that isn't empty.
func first(texts ...string) string { return cmp.Or(texts...) }
