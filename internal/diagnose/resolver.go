package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Status is how a question to DNS ended.
type Status string

// The first three are answers: the name has such records, the name has none of that type, there is no such name. All others
// tell nothing about the name.
const (
	Found    Status = "found"
	NoData   Status = "no such record"
	NoName   Status = "no such name"
	Timeout  Status = "no answer in time"
	Failed   Status = "SERVFAIL"
	Refused  Status = "refused"
	Lame     Status = "a referral: not a resolver for this host"
	Garbled  Status = "not an answer to the question"
	Disagree Status = "resolvers disagree"
	Broken   Status = "not reachable"
)

// Answer is what a resolver said.
type Answer struct {
	Name      string // without the dot at its end
	Type      uint16
	Status    Status
	Server    string
	Records   []dns.RR // of the type, along aliases
	Aliases   []string // CNAMEs that were followed
	Authentic bool     // AD: the resolver validated it (RFC 4035 section 3.2.3)
	Detail    string
}

// Known tells whether the answer says anything about the name.
func (a *Answer) Known() bool { return a.Status == Found || a.Status == NoData || a.Status == NoName }

func (a *Answer) typeName() string { return dns.TypeToString[a.Type] }

func (a *Answer) problem() string {
	if a.Detail != "" {
		return string(a.Status) + " (" + a.Detail + ")"
	}
	return string(a.Status)
}

// String is the answer as a line of evidence.
func (a *Answer) String() string {
	line := a.Name + " " + a.typeName() + ": "
	if a.Status != Found {
		return line + a.problem()
	}
	texts := a.Texts()
	if a.Type == dns.TypeTXT {
		for i := range texts {
			texts[i] = fmt.Sprintf("%q", texts[i])
		}
	}
	if len(a.Aliases) > 0 {
		line += "alias of " + strings.Join(a.Aliases, ", ") + ": "
	}
	return line + strings.Join(texts, ", ")
}

// Texts are the records' values: TXT strings put together as RFC 7208 section 3.3 and RFC 6376 section 3.6.2.2 ask, names
// without the dot at their end, addresses.
func (a *Answer) Texts() (texts []string) {
	for _, rr := range a.Records {
		switch rr := rr.(type) {
		case *dns.TXT:
			texts = append(texts, strings.Join(unescape(rr.Txt), ""))
		case *dns.PTR:
			texts = append(texts, strings.TrimSuffix(rr.Ptr, "."))
		case *dns.A:
			texts = append(texts, rr.A.String())
		case *dns.AAAA:
			texts = append(texts, rr.AAAA.String())
		case *dns.MX:
			texts = append(texts, fmt.Sprintf("%d %s", rr.Preference, strings.TrimSuffix(rr.Mx, ".")))
		case *dns.NS:
			texts = append(texts, strings.TrimSuffix(rr.Ns, "."))
		default:
			texts = append(texts, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	return texts
}

// unescape takes the backslashes out that package dns puts into strings: \DDD and \X (RFC 1035 section 5.1).
func unescape(parts []string) []string {
	plain := make([]string, len(parts))
	for i, text := range parts {
		var out strings.Builder
		for j := 0; j < len(text); j++ {
			if text[j] != '\\' || j+1 == len(text) {
				out.WriteByte(text[j])
				continue
			}
			if j+3 < len(text) && digits(text[j+1:j+4]) {
				out.WriteByte((text[j+1]-'0')*100 + (text[j+2]-'0')*10 + text[j+3] - '0')
				j += 3
				continue
			}
			j++
			out.WriteByte(text[j])
		}
		plain[i] = out.String()
	}
	return plain
}

func digits(text string) bool {
	return strings.Trim(text, "0123456789") == ""
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
	o ResolverOptions

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
	o.Timeout = cmp.Or(o.Timeout, 3*time.Second)
	return &Resolver{o: o, known: map[question]*pending{}}
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
			return &Answer{Name: strings.TrimSuffix(name, "."), Type: qtype, Status: Timeout}
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

// ask asks the servers that can be trusted until one knows, and then another one for a second opinion.
func (r *Resolver) ask(ctx context.Context, q question) *Answer {
	failed := &Answer{Name: strings.TrimSuffix(q.name, "."), Type: q.qtype, Status: Broken, Detail: "no resolver that could be asked"}
	var answer *Answer
	for _, server := range r.servers(ctx) {
		given := r.exchange(ctx, server, q)
		switch {
		case !given.Known():
			failed = given
		case answer == nil:
			answer = given
		case !alike(answer, given):
			answer.Detail = fmt.Sprintf("%s says %s, %s says %s", answer.Server, short(answer), given.Server, short(given))
			answer.Status = Disagree
			return answer
		default:
			return answer // two agree
		}
	}
	if answer == nil {
		return failed
	}
	return answer
}

func short(a *Answer) string {
	if a.Status != Found {
		return string(a.Status)
	}
	return strings.Join(a.Texts(), ", ")
}

// alike compares what two servers say, whatever the order.
func alike(a, b *Answer) bool {
	left, right := a.Texts(), b.Texts()
	slices.Sort(left)
	slices.Sort(right)
	// No such name and no such record come to the same for every check, and middle boxes mix them up.
	return (a.Status == Found) == (b.Status == Found) && slices.Equal(left, right)
}

// tries is how often a server is asked that says nothing.
const tries = 2

func (r *Resolver) exchange(ctx context.Context, server string, q question) *Answer {
	a := &Answer{Name: strings.TrimSuffix(q.name, "."), Type: q.qtype, Server: server}
	if _, valid := dns.IsDomainName(q.name); !valid {
		a.Status, a.Detail = NoName, "not a domain name"
		return a
	}
	ask := new(dns.Msg).SetQuestion(q.name, q.qtype)
	ask.SetEdns0(1232, false)
	ask.AuthenticatedData = true // tell whether it was validated (RFC 6840 section 5.7)
	var reply *dns.Msg
	var err error
	for range tries {
		if reply, err = r.once(ctx, server, "udp", ask); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil && reply.Truncated {
		reply, err = r.once(ctx, server, "tcp", ask)
	}
	switch {
	case err != nil && (isTimeout(err) || ctx.Err() != nil):
		a.Status, a.Detail = Timeout, server
	case err != nil:
		a.Status, a.Detail = Broken, err.Error()
	default:
		a.read(reply, q)
	}
	return a
}

func (r *Resolver) once(ctx context.Context, server, network string, ask *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	client := dns.Client{Net: network, Timeout: r.o.Timeout, UDPSize: 1232}
	reply, _, err := client.ExchangeContext(ctx, ask, server)
	return reply, err
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout() || strings.Contains(err.Error(), "i/o timeout")
}

// read judges a reply.
func (a *Answer) read(reply *dns.Msg, q question) {
	switch {
	case !reply.Response, len(reply.Question) != 1, !strings.EqualFold(reply.Question[0].Name, q.name), reply.Question[0].Qtype != q.qtype,
		reply.Question[0].Qclass != dns.ClassINET, reply.Truncated:
		a.Status, a.Detail = Garbled, a.Server
	case reply.Rcode == dns.RcodeServerFailure:
		a.Status, a.Detail = Failed, a.Server
	case reply.Rcode == dns.RcodeRefused:
		a.Status, a.Detail = Refused, a.Server
	case reply.Rcode == dns.RcodeNameError:
		a.Status = NoName
	case reply.Rcode != dns.RcodeSuccess:
		a.Status, a.Detail = Failed, a.Server+" answers "+dns.RcodeToString[reply.Rcode]
	default:
		a.take(reply, q)
	}
	a.Authentic = reply.AuthenticatedData
}

// take collects the records that belong to the question, along aliases; anything else in the answer is not ours.
func (a *Answer) take(reply *dns.Msg, q question) {
	const mostAliases = 10
	owner := q.name
	for range mostAliases {
		next := ""
		for _, rr := range reply.Answer {
			if alias, ok := rr.(*dns.CNAME); ok && q.qtype != dns.TypeCNAME && strings.EqualFold(rr.Header().Name, owner) {
				next = strings.ToLower(alias.Target)
			}
		}
		if next == "" {
			break
		}
		a.Aliases = append(a.Aliases, strings.TrimSuffix(next, "."))
		owner = next
	}
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == q.qtype && strings.EqualFold(rr.Header().Name, owner) {
			a.Records = append(a.Records, rr)
		}
	}
	authority := func(rrtype uint16) bool {
		return slices.ContainsFunc(reply.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == rrtype })
	}
	switch {
	case len(a.Records) > 0:
		a.Status = Found
	case len(reply.Answer) > 0 && len(a.Aliases) == 0:
		a.Status, a.Detail = Garbled, a.Server+" answers with records of another name"
	case len(a.Aliases) > 0 && !authority(dns.TypeSOA): // cut off, or a circle: nobody said that the end has no record
		a.Status, a.Detail = Garbled, a.Server+" answers with an alias whose end is missing"
	case !reply.Authoritative && authority(dns.TypeNS) && !authority(dns.TypeSOA):
		a.Status, a.Detail = Lame, a.Server
	default:
		a.Status = NoData
	}
}
