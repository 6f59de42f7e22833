package diagnose

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// vetted is what is known of a server before anything is believed from it.
type vetted struct {
	server    string
	trouble   string // why it isn't asked; empty: it is
	validates bool
	took      time.Duration
	evidence  []string
}

// vet asks every server for things whose answer is known: the root has name servers, and a name that nobody can have made
// up before has no address. A server that says otherwise makes answers up (RFC 6761 section 6.4; RFC 8020), so that neither a
// record nor its absence would mean anything.
func (r *Resolver) vet(ctx context.Context) []vetted {
	r.vetting.Do(func() {
		r.vetted = make([]vetted, len(r.list))
		var all sync.WaitGroup
		for i, server := range r.list {
			all.Go(func() { r.vetted[i] = r.vetOne(ctx, server) })
		}
		all.Wait()
	})
	return r.vetted
}

func (r *Resolver) vetOne(ctx context.Context, server string) vetted {
	v := vetted{server: server}
	began := time.Now()
	root := r.exchange(ctx, server, question{".", dns.TypeNS})
	v.took, v.validates = time.Since(began), root.Authentic
	v.evidence = append(v.evidence, root.String())
	switch {
	case !root.Known():
		why := *root.Untold
		why.Name = ""
		v.trouble = why.Error()
		return v
	case !root.Found():
		v.trouble = server + " says that the root of DNS has no name servers"
		return v
	}
	for _, parent := range []string{"invalid.", "example.com."} {
		none := r.exchange(ctx, server, question{strings.ToLower(rand.Text()) + "." + parent, dns.TypeA})
		v.evidence = append(v.evidence, none.String())
		if none.Found() {
			v.trouble = server + " answers " + strings.Join(none.Texts(), ", ") + " for a name that doesn't exist"
		}
	}
	return v
}

// servers are those that may be asked.
func (r *Resolver) servers(ctx context.Context) (good []string) {
	for _, one := range r.vet(ctx) {
		if one.trouble == "" {
			good = append(good, one.server)
		}
	}
	return good
}

// trouble says why nothing can be asked; empty while at least one server can be.
func (r *Resolver) trouble(ctx context.Context) string {
	if len(r.list) == 0 {
		return "none is configured"
	}
	var why []string
	for _, one := range r.vet(ctx) {
		if one.trouble == "" {
			return ""
		}
		why = append(why, one.trouble)
	}
	return strings.Join(why, "; ")
}
