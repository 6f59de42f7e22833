package node

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
)

// share tells the other nodes of this node's keys and asks for theirs: what it has is out before it looks, so that of two
// nodes that begin at once one at least sees the other.
func (k *keeper) share(ctx context.Context) {
	if k.shared == nil {
		return
	}
	claims, waits := k.claims()
	every := k.how.Load().used
	if waits {
		every = min(every, k.how.Load().waiting)
	}
	k.mu.Lock()
	news, due := !reflect.DeepEqual(claims, k.said), k.now().Sub(k.asked) >= every
	k.mu.Unlock()
	if !news && !due {
		return
	}
	peers := life.Peers{Known: true}
	err := k.shared.Publish(ctx, claims)
	if err == nil {
		peers.Claims, err = k.shared.Claims(ctx)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = k.now()
	if err != nil {
		k.peers.Known, k.peers.Why = false, err.Error() // what was known of others still counts
		return
	}
	k.peers, k.said = peers, claims
}

// claims are this node's keys as others have to know them.
func (k *keeper) claims() (claims []fleet.Claim, waits bool) {
	keys := k.life.Keys().Keys
	for i := range keys {
		if keys[i].Stage != fleet.StageRetired {
			claims = append(claims, keys[i].Claim())
		}
		waits = waits || keys[i].Stage == fleet.StageWaiting
	}
	return claims, waits
}

// hear takes what an aggregator tells of the other nodes. Where there is Consul, that is asked instead.
func (k *keeper) hear(claims []fleet.Claim) {
	if k.shared != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.peers = life.Peers{Known: true, Claims: slices.Clone(claims)}
}

// alarm fails the check of the keys while there is an alarm about one of them.
func (k *keeper) alarm(check *fleet.Check) {
	answer := k.life.Keys()
	alarms := []string{}
	if answer.Failure != "" {
		alarms = append(alarms, answer.Failure)
	}
	for i := range answer.Keys {
		if text := answer.Keys[i].Alarm(); text != "" && answer.Keys[i].Stage != fleet.StageRetired {
			alarms = append(alarms, text)
		}
	}
	if len(alarms) > 0 {
		check.OK, check.Text = false, strings.Join(alarms, "; ")
	}
}

// Keys implements [nodeapi.Keys].
func (k *keeper) Keys(context.Context) *fleet.NodeKeys {
	answer := k.life.Keys()
	how := k.how.Load()
	answer.Updates, answer.Resolver = how.updater != nil, how.resolver.Used()
	return answer
}

// Order implements [nodeapi.Keys].
func (k *keeper) Order(ctx context.Context, order fleet.KeyOrder) (*fleet.NodeKeys, error) {
	var err error
	switch order.Verb {
	case fleet.KeyRotate:
		err = k.rotate(order.Domain, order.By)
	case fleet.KeyActivate:
		err = k.life.Activate(order.Domain, order.Selector, order.Force, order.By)
	case fleet.KeyRetire:
		err = k.life.Retire(order.Domain, order.Selector, order.Force, order.By)
	case fleet.KeyPeers:
		k.hear(order.Peers)
		return k.Keys(ctx), nil
	case fleet.KeyCheck:
	default:
		err = fleet.Invalid("verb", "%.40q: expected rotate, activate, retire or check", order.Verb)
	}
	if err != nil {
		return nil, err
	}
	if order.Verb != fleet.KeyCheck {
		k.use()
	}
	k.wake()
	return k.Keys(ctx), nil
}

// rotate makes the next key of a domain, or of every domain that has a key in use.
func (k *keeper) rotate(domain, by string) error {
	if domain != "" {
		return k.life.Rotate(domain, by)
	}
	for _, domain := range k.life.RotatableDomains() {
		if err := k.life.Rotate(domain, by); err != nil {
			return err
		}
	}
	return nil
}
