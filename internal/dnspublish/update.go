package dnspublish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
)

// Updater changes zones on their primary server.
type Updater struct {
	Server  string        // HOST:PORT of the primary
	Zones   []string      // that may be changed; empty: the zone that the server says
	Key     *TSIG         // nil: unsigned, for servers that go by address
	TTL     time.Duration // of new records; 0: one hour
	Timeout time.Duration // of one exchange; 0: 5 s
	Now     func() time.Time
}

// Change is what is to become of the TXT records at one name. Before is all that was there when the change was thought of: it
// is the condition under which the server makes it (RFC 2136 section 2.4).
type Change struct {
	Name   string   `json:"name"`
	Before []string `json:"before,omitempty"`
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// Errors of an update that the caller may want to tell apart.
var (
	ErrRefused = errors.New("the server refused the update: its policy doesn't let this key, or this host, change the name")
	ErrKey     = errors.New("the server doesn't know the TSIG key of that name")
	ErrSecret  = errors.New("the TSIG secret is wrong, or its algorithm")
	ErrClock   = errors.New("the clocks of this host and of the server are too far apart for TSIG")
	ErrChanged = errors.New("the records are no longer as they were when the change was made up")
	ErrZone    = errors.New("the server is not the primary of the zone")
)

// elsewhereError says why the records at a name aren't the server's to change.
type elsewhereError string

// Error implements error.
func (e elsewhereError) Error() string { return string(e) }

// Current are the TXT records at a name as the primary has them now.
func (u *Updater) Current(ctx context.Context, name string) ([]string, error) {
	records, err := u.current(ctx, name)
	return texts(records), err
}

func texts(records []*dns.TXT) (list []string) {
	for _, txt := range records {
		list = append(list, dnsask.Text(txt))
	}
	return list
}

func (u *Updater) current(ctx context.Context, name string) (records []*dns.TXT, err error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	question.RecursionDesired = false
	reply, err := u.exchange(ctx, question, false)
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError || !reply.Authoritative {
		return nil, elsewhereError(fmt.Sprintf("%s doesn't answer for %s: %s", u.Server, name, dns.RcodeToString[reply.Rcode]))
	}
	for _, rr := range reply.Answer {
		if alias, ok := rr.(*dns.CNAME); ok && strings.EqualFold(alias.Hdr.Name, dns.Fqdn(name)) {
			return nil, elsewhereError(fmt.Sprintf("%s is an alias of %s: its records belong there", name, alias.Target))
		}
		if txt, ok := rr.(*dns.TXT); ok && strings.EqualFold(txt.Hdr.Name, dns.Fqdn(name)) {
			records = append(records, txt)
		}
	}
	return records, nil
}

// Zone is the zone that a name is in.
func (u *Updater) Zone(ctx context.Context, name string) (string, error) {
	if len(u.Zones) > 0 {
		best := ""
		for _, zone := range u.Zones {
			if dns.IsSubDomain(dns.Fqdn(zone), dns.Fqdn(name)) && len(zone) > len(best) {
				best = zone
			}
		}
		if best == "" {
			return "", fmt.Errorf("%s is in none of the zones that may be changed: %s", name, strings.Join(u.Zones, ", "))
		}
		return strings.TrimSuffix(best, "."), nil
	}
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), dns.TypeSOA)
	question.RecursionDesired = false
	reply, err := u.exchange(ctx, question, false)
	if err != nil {
		return "", err
	}
	for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
		if soa, ok := rr.(*dns.SOA); ok && reply.Authoritative {
			return strings.TrimSuffix(strings.ToLower(soa.Hdr.Name), "."), nil
		}
	}
	return "", fmt.Errorf("%w: %s knows no zone of %s", ErrZone, u.Server, name)
}

// Apply makes changes to one zone, all or none.
func (u *Updater) Apply(ctx context.Context, zone string, changes []Change) error {
	update := new(dns.Msg)
	update.SetUpdate(dns.Fqdn(zone))
	for i := range changes {
		c := &changes[i]
		if len(c.Before) == 0 {
			update.RRsetNotUsed([]dns.RR{u.txt(c.Name, "")})
		} else if err := u.condition(ctx, update, c); err != nil {
			return fmt.Errorf("update zone %s: %w", zone, err)
		}
		for _, text := range c.Add {
			update.Insert([]dns.RR{u.txt(c.Name, text)})
		}
	}
	reply, err := u.exchange(ctx, update, true)
	if err != nil {
		return fmt.Errorf("update zone %s: %w", zone, err)
	}
	if err := updateError(reply.Rcode); err != nil {
		return fmt.Errorf("update zone %s: %w", zone, err)
	}
	return nil
}

// condition adds what has to be there, and what goes. A server compares strings, of which one text may have any: so the records
// are taken from the server, and not made of their texts.
func (u *Updater) condition(ctx context.Context, update *dns.Msg, c *Change) error {
	there, err := u.current(ctx, c.Name)
	if err != nil {
		return err
	}
	if !slices.Equal(slices.Sorted(slices.Values(texts(there))), slices.Sorted(slices.Values(c.Before))) {
		return ErrChanged
	}
	for _, txt := range there {
		update.Used([]dns.RR{dns.Copy(txt)})
		if slices.Contains(c.Remove, dnsask.Text(txt)) {
			update.Remove([]dns.RR{dns.Copy(txt)})
		}
	}
	return nil
}

func updateError(rcode int) error {
	switch rcode {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeRefused:
		return ErrRefused
	case dns.RcodeNotAuth, dns.RcodeNotZone:
		return ErrZone
	case dns.RcodeNXRrset, dns.RcodeYXRrset, dns.RcodeYXDomain, dns.RcodeNameError:
		return ErrChanged
	}
	return fmt.Errorf("the server answered %s", dns.RcodeToString[rcode])
}

func (u *Updater) txt(name, text string) dns.RR {
	return &dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET,
		Ttl: uint32(cmp.Or(u.TTL, time.Hour) / time.Second)}, Txt: dnsask.Strings(text)} //nolint:gosec // bounded by the configuration
}

// tsigFudge is how far the clocks may be apart, in seconds (RFC 8945 section 10).
const tsigFudge = 300

// exchange asks over TCP: an update with its keys doesn't fit a datagram.
func (u *Updater) exchange(ctx context.Context, m *dns.Msg, sign bool) (*dns.Msg, error) {
	timeout := cmp.Or(u.Timeout, 5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := &dns.Client{Net: "tcp", Timeout: timeout}
	if sign && u.Key != nil {
		now := time.Now
		if u.Now != nil {
			now = u.Now
		}
		client.TsigSecret = map[string]string{u.Key.Name: u.Key.secret}
		m.SetTsig(u.Key.Name, u.Key.Algorithm, tsigFudge, now().Unix())
	}
	reply, _, err := client.ExchangeContext(ctx, m, u.server())
	if reply != nil && sign {
		if told := tsigError(reply); told != nil {
			return nil, told
		}
	}
	switch {
	case errors.Is(err, dns.ErrAuth): // NOTAUTH, and not for the signature's sake
		return nil, ErrZone
	case err != nil:
		return nil, dnsask.NoReply(err, u.Server, timeout)
	case sign && u.Key != nil && reply.IsTsig() == nil && reply.Rcode == dns.RcodeSuccess:
		return nil, fmt.Errorf("ask %s: its answer isn't signed, so it may be anybody's", u.Server)
	}
	return reply, nil
}

func (u *Updater) server() string {
	if _, _, err := net.SplitHostPort(u.Server); err != nil {
		return net.JoinHostPort(u.Server, "53")
	}
	return u.Server
}

// tsigError is what the server says of the signature (RFC 8945 section 5.2).
func tsigError(reply *dns.Msg) error {
	signature := reply.IsTsig()
	if signature == nil {
		return nil
	}
	switch int(signature.Error) {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeBadKey:
		return ErrKey
	case dns.RcodeBadSig:
		return ErrSecret
	case dns.RcodeBadTime:
		return ErrClock
	}
	return fmt.Errorf("the server answered %s to the signature", dns.RcodeToString[int(signature.Error)])
}
