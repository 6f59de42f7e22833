package dnsask

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Client asks one server at a time. The zero value asks once and waits 5 s.
type Client struct {
	Timeout time.Duration // of one exchange; 0: 5 s
	Tries   int           // of a datagram to which nothing comes back; 0: one
	// Proof takes "there is nothing" only with the SOA record that has to come with it (RFC 2308 section 2). Without one it may
	// be a server that doesn't know the zone. Not every resolver passes that record on, so who has other ways to tell that a
	// server can be believed goes without.
	Proof bool
}

// maxAliases bounds the CNAMEs that are followed.
const maxAliases = 8

// payload is the largest datagram that is asked for: it fits all networks (RFC 9715 section 3.1).
const payload = 1232

// Ask asks for the records of a name. What is no answer is an [*Untold].
func (c *Client) Ask(ctx context.Context, server, name string, kind uint16) (*Answer, error) {
	answer := &Answer{Name: cmp.Or(trimDot(name), "."), Type: kind, Server: server}
	if _, valid := dns.IsDomainName(name); !valid {
		answer.Missing = true
		return answer, nil
	}
	owner := dns.CanonicalName(name)
	for len(answer.Aliases) <= maxAliases {
		reply, err := c.exchange(ctx, server, owner, kind)
		if err == nil {
			err = judge(reply, owner, kind)
		}
		if err != nil {
			err.Name, err.Type, err.Server = answer.Name, kind, server
			return nil, err
		}
		end := answer.take(reply, owner)
		if len(answer.Aliases) > maxAliases {
			break // a circle may end where it began, and nothing is said of that name
		}
		if end != owner && len(answer.Records) == 0 && !proves(reply, end) {
			owner = end // nobody said that the end of the aliases has no record
			continue
		}
		if err := c.settle(answer, reply, end); err != nil {
			return nil, err
		}
		return answer, nil
	}
	return nil, answer.untold(Garbled, fmt.Sprintf("more than %d aliases", maxAliases))
}

// settle says what a reply means for which nothing is left to be asked.
func (c *Client) settle(answer *Answer, reply *dns.Msg, end string) error {
	answer.Missing, answer.Authentic = reply.Rcode == dns.RcodeNameError, reply.AuthenticatedData
	switch {
	case len(answer.Records) > 0 && answer.Missing:
		return answer.untold(Garbled, "it says what is there, and that there is no such name")
	case len(answer.Records) > 0:
		return nil
	case len(reply.Answer) > 0 && len(answer.Aliases) == 0:
		return answer.untold(Garbled, "it has records of another name")
	case !reply.Authoritative && has(reply.Ns, dns.TypeNS) && !has(reply.Ns, dns.TypeSOA):
		return answer.untold(Lame, "")
	case c.Proof && !proves(reply, end):
		return answer.untold(Unproven, "")
	}
	return nil
}

// exchange asks over UDP, and over TCP where the reply was cut.
func (c *Client) exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, *Untold) {
	ask := new(dns.Msg)
	ask.SetQuestion(name, kind)
	ask.SetEdns0(payload, false)
	ask.AuthenticatedData = true // tell whether it was validated (RFC 6840 section 5.7)
	var reply *dns.Msg
	var err *Untold
	for range max(c.Tries, 1) {
		if reply, err = c.once(ctx, server, "udp", ask); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil && reply.Truncated {
		reply, err = c.once(ctx, server, "tcp", ask)
	}
	return reply, err
}

func (c *Client) once(ctx context.Context, server, network string, ask *dns.Msg) (*dns.Msg, *Untold) {
	timeout := cmp.Or(c.Timeout, 5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := &dns.Client{Net: network, Timeout: timeout, UDPSize: payload}
	reply, _, err := client.ExchangeContext(ctx, ask, server) // which holds the reply's id against the question's
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, NoReply(err, server, timeout)
	}
	return reply, nil
}

// judge tells what a reply is that says nothing about the name; nil: it says something.
func judge(reply *dns.Msg, name string, kind uint16) *Untold {
	switch {
	case !reply.Response, len(reply.Question) != 1, !strings.EqualFold(reply.Question[0].Name, name),
		reply.Question[0].Qtype != kind, reply.Question[0].Qclass != dns.ClassINET:
		return &Untold{Reason: Garbled, Detail: "it is to another question"}
	case reply.Truncated:
		return &Untold{Reason: Garbled, Detail: "it is cut short"}
	case reply.Rcode == dns.RcodeRefused:
		return &Untold{Reason: Refused}
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return &Untold{Reason: Failed, Detail: dns.RcodeToString[reply.Rcode]}
	}
	return nil
}

func has(records []dns.RR, kind uint16) bool {
	for _, rr := range records {
		if rr.Header().Rrtype == kind {
			return true
		}
	}
	return false
}

// proves tells whether a reply has the SOA record of a zone that the name can be in.
func proves(reply *dns.Msg, name string) bool {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
			return true
		}
	}
	return false
}

func trimDot(name string) string { return strings.TrimSuffix(name, ".") }
