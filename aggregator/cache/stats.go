package cache

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Stats are the figures of a node as it would give them, of the moment that comes with them. There are none, and the
// moment is zero, where not every message of the range is remembered: figures that lack some would look like less mail.
func (c *Cache) Stats(ctx context.Context, node string, q fleet.StatsQuery) (*fleet.Stats, time.Time) {
	asOf, complete := c.complete(node, fleet.MessageIDAt(q.Since))
	if !complete || q.Validate() != nil {
		return nil, time.Time{}
	}
	sum := &fleet.Stats{Since: q.Since, Until: q.Until, Steps: make([]fleet.Step, q.Steps)}
	width := q.Until.Sub(q.Since) / time.Duration(q.Steps)
	for i := range sum.Steps {
		sum.Steps[i].Start = q.Since.Add(time.Duration(i) * width)
	}
	destinations, refusals := map[string]*fleet.Destination{}, map[string]*fleet.Refusal{}
	err := c.scan(ctx, node, fleet.MessageIDAt(q.Until), fleet.MessageIDAt(q.Since), func(m *fleet.Message) bool {
		if m.IsHop() {
			return true
		}
		step := &sum.Steps[min(int(m.ID.Time().Sub(q.Since)/width), q.Steps-1)]
		step.Messages++
		sum.Total.Messages++
		for i := range m.Recipients {
			r := &m.Recipients[i]
			step.Count(r.Status, 1)
			count(sum, r)
			countDestination(destinations, r)
			countRefusal(refusals, r)
		}
		return true
	})
	if err != nil {
		return nil, time.Time{}
	}
	for _, d := range destinations {
		sum.Destinations = append(sum.Destinations, *d)
	}
	for _, r := range refusals {
		sum.Refusals = append(sum.Refusals, *r)
	}
	slices.SortFunc(sum.Destinations, func(a, b fleet.Destination) int { return strings.Compare(a.Domain, b.Domain) })
	slices.SortFunc(sum.Refusals, func(a, b fleet.Refusal) int { return strings.Compare(a.Reason, b.Reason) })
	sum.Add(&fleet.Stats{}) // keeps the top of the lists
	c.metrics.served.WithLabelValues("stats").Inc()
	return sum, asOf
}

// complete tells whether no message of a node from low on is missing, up to the moment that comes with it.
func (c *Cache) complete(node string, low fleet.MessageID) (asOf time.Time, complete bool) {
	s := c.known(node)
	if s == nil || low < fleet.MessageIDAt(c.o.Clock().Add(-c.o.Keep)) {
		return time.Time{}, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fromMicro(s.until()), s.cover.Complete > 0 && low >= s.cover.Complete
}

func count(sum *fleet.Stats, r *fleet.Recipient) {
	sum.Total.Count(r.Status, 1)
	if delay, delivered := r.Delay(); delivered {
		sum.Delay.Observe(delay, 1)
	}
	switch r.SentTLS() {
	case fleet.TLSYes:
		sum.Encrypted++
	case fleet.TLSNo:
		sum.Clear++
	}
}

func countDestination(into map[string]*fleet.Destination, r *fleet.Recipient) {
	domain := r.Domain()
	if domain == "" {
		return
	}
	d := into[domain]
	if d == nil {
		d = &fleet.Destination{Domain: domain}
	}
	switch {
	case r.Status == fleet.StatusDelivered:
		d.Delivered++
	case r.Status.InQueue():
		d.Waiting++
	case r.Status.Failed():
		d.Bounced++
	default:
		return
	}
	into[domain] = d
}

func countRefusal(into map[string]*fleet.Refusal, r *fleet.Recipient) {
	reason := r.Refusal()
	if reason == "" {
		return
	}
	if into[reason] == nil {
		into[reason] = &fleet.Refusal{Reason: reason, Example: r.Reply, Domain: r.Domain()}
	}
	into[reason].Count++
}
