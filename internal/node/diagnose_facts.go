package node

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node/mta"
)

// inquiry gathers what a diagnosis needs to know of this node. The daemon has all of it; a command that runs while the
// daemon doesn't has what stands in files.
type inquiry struct {
	name    string
	config  *config.Milter
	signer  *dkim.Signer
	keys    []fleet.Key   // with those that don't sign
	claims  []fleet.Claim // of other nodes too
	postfix *mta.Postfix
	store   mailbox // nil: nothing is known of recent mail
	capture string  // what the log shows
	peers   told
	relay   fleet.Relay // settings in force
	started time.Time
	now     func() time.Time
}

// told are the other nodes, as somebody told of them.
type told struct {
	Peers []fleet.Peer `json:"peers"`
	Seen  time.Time    `json:"seen"`
	Note  string       `json:"-"` // why there are none
}

// facts makes the facts of one run.
func (q *inquiry) facts(ctx context.Context) *diagnose.Facts {
	c := &q.config.Diagnose
	f := &diagnose.Facts{
		Node: q.name, Now: q.now, Started: q.started,
		DNS:   diagnose.NewResolver(diagnose.ResolverOptions{Servers: ResolverOf(&q.config.DNS).Used(), Timeout: q.config.DNS.Timeout.Std()}),
		Takes: q.postfix.Facts(ctx).Takes, Relay: q.relay,
		Peers: q.peers.Peers, PeersSeen: q.peers.Seen, PeersNote: q.peers.Note, Claims: q.claims,
		SMTP: string(q.config.Postfix.SMTPAddress), Milter: milterPlaces(q.config), Captured: q.capture,
		Disks:      disks(q.config),
		HTTP:       &http.Client{},
		Limits:     diagnose.Limits{QueueAge: c.QueueAge.Std(), QueueSize: c.QueueSize, Certificate: c.CertificateLeft.Std(), Clock: c.Clock.Std()},
		Targets:    c.Targets,
		Blocklists: c.Blocklists, DomainBlocklists: c.DomainBlocklists,
		Compare: dkim.CompareRecord,
		Local:   localAddresses(),
		Sync:    clockHeld(),
	}
	f.Keys, f.Domains = signingKeys(q.keys), sendingDomains(q.config, q.keys)
	f.Queue = func(ctx context.Context) (*diagnose.Queue, error) { return q.queue(ctx) }
	f.Prove = func(_ context.Context, lookup func(string) ([]string, error)) (proofs []diagnose.Proof) {
		for _, p := range q.signer.Probe(q.now(), lookup) {
			proofs = append(proofs, diagnose.Proof(p))
		}
		return proofs
	}
	if q.store != nil {
		f.Recent = sync2(func(ctx context.Context) (*diagnose.Recent, error) { return recentMail(ctx, q.store, q.now()) })
	}
	q.askPostfix(ctx, f)
	f.Egress = q.egress(ctx, f)
	return f
}

// sync2 asks once for all that ask.
func sync2[T any](ask func(context.Context) (T, error)) func(context.Context) (T, error) {
	var once sync.Once
	var value T
	var err error
	return func(ctx context.Context) (T, error) {
		once.Do(func() { value, err = ask(ctx) })
		return value, err
	}
}

func (q *inquiry) askPostfix(ctx context.Context, f *diagnose.Facts) {
	settings, err := q.postfix.Settings(ctx)
	if err == nil {
		f.Postfix, err = diagnose.ParsePostfix(settings.Main, settings.Master, settings.Params)
	}
	if err != nil {
		f.PostfixProblem = err.Error()
		return
	}
	f.HELO = f.Postfix.Main("smtp_helo_name")
	if smtp := f.Postfix.Service("smtp", "unix"); smtp != nil {
		f.HELO = smtp.Value("smtp_helo_name")
	}
	for i := range f.Disks {
		if f.Disks[i].Use == diskQueue {
			f.Disks[i].Least, f.Disks[i].LeastWhy = leastFree(f.Postfix)
		}
	}
}

// signingKeys are the keys that sign now, as the checks hold them against DNS.
func signingKeys(keys []fleet.Key) (list []diagnose.Key) {
	for _, k := range keys {
		if !k.Signs {
			continue
		}
		list = append(list, diagnose.Key{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm, Bits: k.Bits,
			Record: k.Text, Fingerprint: k.Fingerprint})
	}
	return list
}

// sendingDomains are those with a key, and those that the configuration names.
func sendingDomains(c *config.Milter, keys []fleet.Key) (domains []string) {
	add := func(domain string) {
		domain = strings.ToLower(strings.TrimSuffix(domain, "."))
		if domain != "" && domain[0] != '.' && domain != "*" && !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	for _, k := range keys {
		if k.Signs {
			add(k.Domain)
		}
	}
	for _, list := range [][]string{c.DKIM.Domains, {c.DKIM.FallbackDomain}, c.Diagnose.Domains} {
		for _, domain := range list {
			add(domain)
		}
	}
	return domains
}

// milterPlaces are the milter's sockets as Postfix names them.
func milterPlaces(c *config.Milter) (places []string) {
	for _, listen := range c.Milter.Listen {
		if listen.Address.Network == "unix" {
			places = append(places, "unix:"+listen.Address.Address)
			continue
		}
		host, port, err := net.SplitHostPort(listen.Address.Address)
		if err != nil {
			continue
		}
		if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
			places = append(places, "inet:127.0.0.1:"+port, "inet:[::1]:"+port)
			continue
		}
		if host == "localhost" {
			host = "127.0.0.1"
		}
		places = append(places, "inet:"+net.JoinHostPort(host, port))
	}
	return places
}
