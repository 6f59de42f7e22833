package node

import (
	"context"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Names of the checks in a node's facts.
const (
	checkMilter    = "milter"
	checkPostfix   = "postfix"
	checkRecording = "recording"
	checkLog       = "log"
	checkKeys      = "keys"
	checkCert      = "certificate"
	checkSettings  = "settings"
)

// mailHealth tells whether this node can take mail. Consul's agent, a balancer and the nodes page ask it often, so an
// answer of Postfix is kept for a moment.
type mailHealth struct {
	banner func(context.Context) (string, error)
	milter func() fleet.Check
	now    func() time.Time

	mu      sync.Mutex
	asked   time.Time
	postfix fleet.Check
}

// Times of the banner check. Consul's agent gives up on the check as a whole after 4 s.
const (
	bannerTimeout = 3 * time.Second
	bannerKept    = 3 * time.Second
)

// checks are the two that must hold for mail.
func (h *mailHealth) checks(ctx context.Context) []fleet.Check {
	return []fleet.Check{h.milter(), h.askPostfix(ctx)}
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
