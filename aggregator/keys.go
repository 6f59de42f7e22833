package aggregator

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// KeyHolder is a [Node] that shows its DKIM keys and takes orders about them.
type KeyHolder interface {
	Keys(ctx context.Context) (*fleet.NodeKeys, error)
	OrderKeys(ctx context.Context, order fleet.KeyOrder) (*fleet.NodeKeys, error)
}

// NodeKeysView are the keys of a node, where it answers.
type NodeKeysView struct {
	Answer Answer          `json:"answer"`
	Keys   *fleet.NodeKeys `json:"keys,omitempty"`
}

// KeysAnswer are the DKIM keys of the fleet.
type KeysAnswer struct {
	Nodes   []NodeKeysView `json:"nodes"`
	Clashes []string       `json:"clashes,omitempty"` // two nodes with one selector, or with one key
}

var errNoKeys = fleet.Errorf(fleet.CodeUnsupported, "its version shows no DKIM keys")

// Keys are the DKIM keys of all nodes.
func (f *Fanout) Keys(ctx context.Context) []NodeKeysView {
	replies := askAll(ctx, f, f.peers(), "keys", askKeys)
	views := make([]NodeKeysView, len(replies))
	for i := range replies {
		views[i].Answer = replies[i].answer()
		if replies[i].err == nil {
			views[i].Keys = wholeKeys(replies[i].value, replies[i].peer.Name)
		}
	}
	return views
}

func askKeys(ctx context.Context, n Node) (*fleet.NodeKeys, error) {
	holder, ok := n.(KeyHolder)
	if !ok {
		return nil, errNoKeys
	}
	return holder.Keys(ctx)
}

// keysPatience is how long an order may take: making RSA keys for many domains needs a while.
const keysPatience = 30 * time.Second

// OrderKeys has a node do something about its keys. The error is a [fleet.Error].
func (f *Fanout) OrderKeys(ctx context.Context, node string, order fleet.KeyOrder) (*fleet.NodeKeys, error) {
	to, err := f.only(node)
	if err != nil {
		return nil, err
	}
	r := ask(ctx, f, to, "keys", keysPatience, func(ctx context.Context, n Node) (*fleet.NodeKeys, error) {
		holder, ok := n.(KeyHolder)
		if !ok {
			return nil, errNoKeys
		}
		return holder.OrderKeys(ctx, order)
	})
	if r.err != nil {
		return nil, r.unanswered()
	}
	return wholeKeys(r.value, node), nil
}

// wholeKeys makes sure that a node speaks of itself alone, that lists are lists, and that a key's record can be nowhere but
// where DKIM has it: what a node says becomes lines of zone files and scripts, and names that an update changes.
func wholeKeys(keys *fleet.NodeKeys, node string) *fleet.NodeKeys {
	keys.Node = node
	if keys.Keys == nil {
		keys.Keys = []fleet.Key{}
	}
	keys.Keys = slices.DeleteFunc(keys.Keys, func(k fleet.Key) bool { return !plainName(k.Selector) || !plainName(k.Domain) })
	for i := range keys.Keys {
		key := &keys.Keys[i]
		key.Node, key.Name = node, key.Selector+"._domainkey."+key.Domain
	}
	return keys
}

// plainName tells whether a text is a name of DNS that needs no escaping anywhere.
func plainName(name string) bool {
	return name != "" && len(name) <= 253 && !strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// clashes are the pairs of keys that two nodes must not both have, in words.
func clashes(views []NodeKeysView) (all []string) {
	claims := claimsOf(views)
	for i := range claims {
		for j := i + 1; j < len(claims); j++ {
			if text := claims[i].Clash(&claims[j]); text != "" && !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}

func claimsOf(views []NodeKeysView) (claims []fleet.Claim) {
	for _, view := range views {
		if view.Keys == nil {
			continue
		}
		for i := range view.Keys.Keys {
			if key := &view.Keys.Keys[i]; key.Stage != fleet.StageRetired {
				claims = append(claims, key.Claim())
			}
		}
	}
	return claims
}

// ShareKeys tells the nodes of each other's keys until ctx ends. It is for fleets without Consul, where they can't ask.
func (f *Fanout) ShareKeys(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		views := f.Keys(ctx)
		claims := claimsOf(views)
		for _, view := range views {
			if view.Keys == nil {
				continue
			}
			peers := slices.DeleteFunc(slices.Clone(claims), func(c fleet.Claim) bool { return c.Node == view.Answer.Node })
			order := fleet.KeyOrder{Verb: fleet.KeyPeers, By: "aggregator", Peers: peers}
			if _, err := f.OrderKeys(ctx, view.Answer.Node, order); err != nil && ctx.Err() == nil {
				f.log.Debug("node not told of the other nodes' keys", zap.String("node", view.Answer.Node), zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
