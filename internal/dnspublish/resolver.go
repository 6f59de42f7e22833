package dnspublish

import (
	"context"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
)

// Resolver asks the host's resolvers. The zero value asks those of /etc/resolv.conf.
type Resolver struct {
	Servers []string      // HOST:PORT each; empty: those of /etc/resolv.conf at the time of the question
	Timeout time.Duration // for one server's answer; 0: 5 s
}

// TXT are the texts at a name. What is found to be absent, or no longer as before, is asked for twice: see [Resolver.Confirmed].
func (r *Resolver) TXT(ctx context.Context, name string) (*dnsask.Answer, error) {
	return r.Lookup(ctx, name, dns.TypeTXT)
}

// Lookup asks for the records of a type. The servers are asked in turn until one gives an answer that can be true.
func (r *Resolver) Lookup(ctx context.Context, name string, kind uint16) (*dnsask.Answer, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	var all []error
	for _, server := range servers {
		answer, err := r.client().Ask(ctx, server, name, kind)
		if err == nil {
			return answer, nil
		}
		all = append(all, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, dnsask.Together(all)
}

// Confirmed asks every server, or the only one twice, and gives the answer when all that answer agree by same. It is for what
// raises an alarm: one server with an old copy must not.
func (r *Resolver) Confirmed(ctx context.Context, name string, kind uint16, same func(a, b *dnsask.Answer) bool) (*dnsask.Answer, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	if len(servers) == 1 {
		servers = append(servers, servers[0])
	}
	var first *dnsask.Answer
	var all []error
	for _, server := range servers {
		answer, err := r.client().Ask(ctx, server, name, kind)
		switch {
		case err != nil:
			all = append(all, err)
		case first == nil:
			first = answer
		case !same(first, answer):
			return nil, &dnsask.Untold{Name: name, Type: kind, Reason: dnsask.Disagree, Detail: first.Server + " and " + answer.Server}
		}
	}
	if first == nil {
		return nil, dnsask.Together(all)
	}
	return first, nil
}

// Used are the servers that are asked.
func (r *Resolver) Used() []string {
	servers, err := r.servers()
	if err != nil {
		return nil
	}
	return servers
}

func (r *Resolver) servers() ([]string, error) {
	if len(r.Servers) > 0 {
		return r.Servers, nil
	}
	return dnsask.System()
}

// client wants "there is nothing" to be proved: nobody has looked at the server before, and a key is taken out of use by it.
func (r *Resolver) client() *dnsask.Client { return &dnsask.Client{Timeout: r.Timeout, Proof: true} }
