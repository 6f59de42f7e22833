package node

import (
	"context"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Names of the checks in a node's facts.
const (
	checkDrain     = "drain"
	checkMilter    = "milter"
	checkPostfix   = "postfix"
	checkQueue     = "queue"
	checkRecording = "recording"
	checkLog       = "log"
	checkKeys      = "keys"
	checkCert      = "certificate"
	checkSettings  = "settings"
	checkCarriers  = "carriers"
)

// mailHealth tells whether this node can take mail. Consul's agent, a balancer and the nodes page ask it often, so an
// answer of Postfix is kept for a moment.
type mailHealth struct {
	banner func(context.Context) (string, error)
	milter func() fleet.Check
	drain  func() fleet.Check
	queue  func() fleet.Check
	now    func() time.Time

	mu      sync.Mutex
	asked   time.Time
	postfix fleet.Check
}

// Times of the banner check. With mailCheckEvery they add up to less than 10 s, in which Consul's DNS is to follow.
const (
	bannerTimeout = 3 * time.Second
	bannerKept    = 2 * time.Second
)

// checks are those that must hold for new mail.
func (h *mailHealth) checks(ctx context.Context) []fleet.Check {
	return []fleet.Check{h.drain(), h.milter(), h.askPostfix(ctx), h.queue()}
}

func (h *mailHealth) askPostfix(ctx context.Context) fleet.Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if !h.asked.IsZero() && now.Sub(h.asked) < bannerKept && !now.Before(h.asked) {
		return h.postfix
	}
	ctx, cancel := context.WithTimeout(ctx, bannerTimeout)
	defer cancel()
	banner, err := h.banner(ctx)
	h.asked = now
	h.postfix = fleet.Check{Name: checkPostfix, OK: err == nil, Text: banner}
	if err != nil {
		h.postfix.Text = err.Error()
	}
	return h.postfix
}
