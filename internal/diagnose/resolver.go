package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
)

// Answer is what the resolvers said of a name, or why they could not tell.
type Answer struct {
	dnsask.Answer
	Untold *dnsask.Untold // nil: the answer counts
}

// Known tells whether the answer says anything about the name.
func (a *Answer) Known() bool { return a.Untold == nil }

func (a *Answer) typeName() string { return dns.TypeToString[a.Type] }

// String is the answer as a line of evidence.
func (a *Answer) String() string {
	if !a.Known() {
		return a.Untold.Error()
	}
	return a.Answer.String()
}

// ResolverOptions say whom to ask.
type ResolverOptions struct {
	Servers []string      // HOST:PORT, in the order in which they are asked
	Timeout time.Duration // of one question to one server; 0: 3 s
}

// Resolver asks DNS for one run: it remembers every answer, so that all checks see the same. Servers that don't answer or
// that lie are found before the first question, see vet, and not asked any more. Where two servers can be asked, both are,
// and what they don't agree on is Disagree.
type Resolver struct {
	list   []string
	client dnsask.Client

	vetting sync.Once
	vetted  []vetted

	mu    sync.Mutex
	known map[question]*pending
}

type question struct {
	name  string
	qtype uint16
}

// pending is an answer that somebody waits for, or has.
type pending struct {
	done   chan struct{}
	answer *Answer
}

// NewResolver makes a resolver for one run.
func NewResolver(o ResolverOptions) *Resolver {
	const tries = 2 // of a server that says nothing
	return &Resolver{list: o.Servers, client: dnsask.Client{Timeout: cmp.Or(o.Timeout, 3*time.Second), Tries: tries}, known: map[question]*pending{}}
}

// Ask asks for the records of a name. It always gives an answer; see [Answer.Known].
func (r *Resolver) Ask(ctx context.Context, name string, qtype uint16) *Answer {
	q := question{strings.ToLower(dns.Fqdn(name)), qtype}
	r.mu.Lock()
	one, there := r.known[q]
	if !there {
		one = &pending{done: make(chan struct{})}
		r.known[q] = one
	}
	r.mu.Unlock()
	if there {
		select {
		case <-one.done:
			return one.answer
		case <-ctx.Done():
			return noAnswer(q, dnsask.Timeout, "")
		}
	}
	defer close(one.done)
	one.answer = r.ask(ctx, q)
	if ctx.Err() != nil { // the asker's time was up: the next one may have more
		r.mu.Lock()
		delete(r.known, q)
		r.mu.Unlock()
	}
	return one.answer
}

// Lookup is Ask in the form in which package spfwalk asks.
func (r *Resolver) Lookup(ctx context.Context, name string, kind uint16) (*dnsask.Answer, error) {
	a := r.Ask(ctx, name, kind)
	if !a.Known() {
		return nil, a.Untold
	}
	return &a.Answer, nil
}

func noAnswer(q question, why dnsask.Reason, detail string) *Answer {
	untold := &dnsask.Untold{Name: strings.TrimSuffix(q.name, "."), Type: q.qtype, Reason: why, Detail: detail}
	return &Answer{Answer: dnsask.Answer{Name: untold.Name, Type: q.qtype}, Untold: untold}
}

// ask asks the servers that can be trusted until one knows, and then another one for a second opinion.
func (r *Resolver) ask(ctx context.Context, q question) *Answer {
	failed := noAnswer(q, dnsask.Unreachable, "no resolver that could be asked")
	var answer *Answer
	for _, server := range r.servers(ctx) {
		given := r.exchange(ctx, server, q)
		switch {
		case !given.Known():
			failed = given
		case answer == nil:
			answer = given
		case !alike(answer, given):
			return noAnswer(q, dnsask.Disagree, fmt.Sprintf("%s says %s, %s says %s", answer.Server, short(answer), given.Server, short(given)))
		default:
			return answer // two agree
		}
	}
	if answer == nil {
		return failed
	}
	return answer
}

// exchange asks one server.
func (r *Resolver) exchange(ctx context.Context, server string, q question) *Answer {
	answer, err := r.client.Ask(ctx, server, q.name, q.qtype)
	if err != nil {
		failed := noAnswer(q, dnsask.Unreachable, err.Error())
		errors.As(err, &failed.Untold)
		return failed
	}
	return &Answer{Answer: *answer}
}

func short(a *Answer) string {
	if !a.Found() {
		return "that there is nothing"
	}
	return strings.Join(a.Texts(), ", ")
}

// alike compares what two servers say, whatever the order.
func alike(a, b *Answer) bool {
	left, right := a.Texts(), b.Texts()
	slices.Sort(left)
	slices.Sort(right)
	// No such name and no such record come to the same for every check, and middle boxes mix them up.
	return a.Found() == b.Found() && slices.Equal(left, right)
}
