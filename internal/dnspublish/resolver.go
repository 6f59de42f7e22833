package dnspublish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Resolver asks the host's resolvers. The zero value asks those of /etc/resolv.conf.
type Resolver struct {
	Servers []string      // HOST:PORT each; empty: those of /etc/resolv.conf at the time of the question
	Timeout time.Duration // for one server's answer; 0: 5 s
	// Lookups, where set, is called with every name that is asked for.
	Lookups func(name string)
}

// Answer is what DNS has at a name for one type. Neither text nor error: there is nothing there.
type Answer struct {
	Texts   []string // TXT: the strings of each record joined
	Addrs   []netip.Addr
	Names   []string // PTR, CNAME, NS: without the dot at the end
	MX      []string // hosts, best first
	Missing bool     // the name itself doesn't exist (NXDOMAIN)
	Server  string   // who answered
}

const (
	resolvConf = "/etc/resolv.conf"
	maxCNAME   = 8
)

// TXT are the texts at a name. What is found to be absent, or no longer as before, is asked for twice: see [Resolver.Confirmed].
func (r *Resolver) TXT(ctx context.Context, name string) (*Answer, error) {
	return r.Lookup(ctx, name, dns.TypeTXT)
}

// Lookup asks for the records of a type. The servers are asked in turn until one gives an answer that can be true.
func (r *Resolver) Lookup(ctx context.Context, name string, kind uint16) (*Answer, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	if r.Lookups != nil {
		r.Lookups(name)
	}
	var all []error
	for _, server := range servers {
		answer, err := r.ask(ctx, server, name, kind)
		if err == nil {
			return answer, nil
		}
		all = append(all, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(all...)
}

// Confirmed asks every server, or the only one twice, and gives the answer when all that answer agree by same. It is for what
// raises an alarm: one server with an old copy must not.
func (r *Resolver) Confirmed(ctx context.Context, name string, kind uint16, same func(a, b *Answer) bool) (*Answer, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	if len(servers) == 1 {
		servers = append(servers, servers[0])
	}
	var first *Answer
	var all []error
	for _, server := range servers {
		answer, err := r.ask(ctx, server, name, kind)
		switch {
		case err != nil:
			all = append(all, err)
		case first == nil:
			first = answer
		case !same(first, answer):
			return nil, fmt.Errorf("%s and %s give different answers for %s", first.Server, answer.Server, name)
		}
	}
	if first == nil {
		return nil, errors.Join(all...)
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
	c, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return nil, fmt.Errorf("which resolver to ask: %w", err)
	}
	var servers []string
	for _, server := range c.Servers {
		servers = append(servers, net.JoinHostPort(server, c.Port))
	}
	if len(servers) == 0 {
		return nil, errors.New("which resolver to ask: " + resolvConf + " names none")
	}
	return servers, nil
}

func (r *Resolver) ask(ctx context.Context, server, name string, kind uint16) (*Answer, error) {
	answer := &Answer{Server: server}
	target := dns.Fqdn(strings.ToLower(name))
	for range maxCNAME {
		reply, err := r.exchange(ctx, server, target, kind)
		if err != nil {
			return nil, fmt.Errorf("%s gives no answer for %s: %w", server, name, err)
		}
		next, found := collect(answer, reply, target, kind)
		switch {
		case found:
			return answer, nil
		case next == target:
			return negative(answer, reply, server, name)
		}
		target = next
	}
	return nil, fmt.Errorf("%s gives no answer for %s: more than %d aliases", server, name, maxCNAME)
}

// negative takes "there is nothing" only with the SOA record that has to come with it (RFC 2308 section 2): without one it may
// be a server that doesn't know the zone, or refers elsewhere.
func negative(answer *Answer, reply *dns.Msg, server, name string) (*Answer, error) {
	if !slices.ContainsFunc(reply.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA }) {
		return nil, fmt.Errorf("%s gives no answer for %s: it says that there is nothing, without the zone's SOA record", server, name)
	}
	answer.Missing = reply.Rcode == dns.RcodeNameError
	return answer, nil
}

// exchange asks over UDP, and over TCP where the answer was cut.
func (r *Resolver) exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	question := new(dns.Msg)
	question.SetQuestion(name, kind)
	question.SetEdns0(1232, false)
	timeout := cmp.Or(r.Timeout, 5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, network := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: network, Timeout: timeout}
		reply, _, err := client.ExchangeContext(ctx, question, server)
		switch {
		case err != nil:
			return nil, netWords(err, timeout)
		case len(reply.Question) != 1 || !strings.EqualFold(reply.Question[0].Name, name) || reply.Question[0].Qtype != kind:
			return nil, errors.New("the answer is to another question")
		case reply.Truncated && network == "udp":
			continue
		case reply.Truncated:
			return nil, errors.New("the answer is cut short")
		case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
			return nil, errors.New(dns.RcodeToString[reply.Rcode])
		}
		return reply, nil
	}
	return nil, errors.New("no answer")
}

func netWords(err error, timeout time.Duration) error {
	var timed net.Error
	if errors.As(err, &timed) && timed.Timeout() {
		return fmt.Errorf("nothing came within %s", timeout)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// collect takes the records of the name, or of the one that it is an alias of. next is where to go on asking; found that there
// was something.
func collect(answer *Answer, reply *dns.Msg, name string, kind uint16) (next string, found bool) {
	for range maxCNAME {
		alias := ""
		for _, rr := range reply.Answer {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			if rr.Header().Rrtype == kind {
				found = true
				answer.add(rr)
			} else if cname, ok := rr.(*dns.CNAME); ok {
				alias = strings.ToLower(cname.Target)
			}
		}
		if found || alias == "" {
			break
		}
		name = alias
	}
	if found {
		return name, true
	}
	return name, false
}

func (a *Answer) add(rr dns.RR) {
	trim := func(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }
	switch rr := rr.(type) {
	case *dns.TXT:
		a.Texts = append(a.Texts, unescape(strings.Join(rr.Txt, "")))
	case *dns.A:
		a.addAddr(rr.A)
	case *dns.AAAA:
		a.addAddr(rr.AAAA)
	case *dns.PTR:
		a.Names = append(a.Names, trim(rr.Ptr))
	case *dns.CNAME:
		a.Names = append(a.Names, trim(rr.Target))
	case *dns.NS:
		a.Names = append(a.Names, trim(rr.Ns))
	case *dns.MX:
		a.MX = append(a.MX, trim(rr.Mx))
	}
}

func (a *Answer) addAddr(ip net.IP) {
	if addr, ok := netip.AddrFromSlice(ip); ok {
		a.Addrs = append(a.Addrs, addr.Unmap())
	}
}

// unescape undoes the zone file's way to write bytes, in which miekg/dns gives the strings of TXT records.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\' || i+1 == len(text):
			out.WriteByte(text[i])
		case i+3 < len(text) && isDigit(text[i+1]) && isDigit(text[i+2]) && isDigit(text[i+3]):
			out.WriteByte((text[i+1]-'0')*100 + (text[i+2]-'0')*10 + text[i+3] - '0')
			i += 3
		default:
			i++
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// escape is a text as a quoted string of a zone file takes it.
func escape(text string) string {
	var out strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&out, `\%03d`, c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
