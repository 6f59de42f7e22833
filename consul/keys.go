package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// KeysOptions make the list of all nodes' DKIM keys.
type KeysOptions struct {
	Client *Client
	Prefix string // of the KV keys; empty: DefaultPrefix. A node's claims are at PREFIX/keys/NODE
	Node   string
}

// Keys is where nodes tell each other of the public halves of their DKIM keys, so that no two sign with one selector or one
// key, and how they rotate one at a time.
type Keys struct {
	o      KeysOptions
	client *api.Client
	log    *zap.Logger
	turn   *api.Lock // of the rotation; nil: not held
	lost   <-chan struct{}
}

// NewKeys asks nothing yet.
func NewKeys(o KeysOptions) *Keys {
	o.Prefix = cmp.Or(o.Prefix, DefaultPrefix)
	return &Keys{o: o, client: o.Client.api, log: o.Client.log}
}

// Publish says what this node's keys are.
func (k *Keys) Publish(ctx context.Context, claims []fleet.Claim) error {
	value, err := json.Marshal(claims)
	if err != nil {
		return fmt.Errorf("write claims: %w", err)
	}
	pair := &api.KVPair{Key: k.o.Prefix + "/keys/" + k.o.Node, Value: value}
	if _, err := k.client.KV().Put(pair, new(api.WriteOptions).WithContext(ctx)); err != nil {
		return fmt.Errorf("tell the other nodes of this node's keys: %s", words(err)) //nolint:errorlint // words for a page
	}
	return nil
}

// Claims are what all nodes said last. They come from the leader, since an old answer could let two nodes use one selector.
func (k *Keys) Claims(ctx context.Context) ([]fleet.Claim, error) {
	options := (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
	pairs, _, err := k.client.KV().List(k.o.Prefix+"/keys/", options)
	if err != nil {
		return nil, fmt.Errorf("ask for the other nodes' keys: %s", words(err)) //nolint:errorlint // words for a page
	}
	left, _, err := k.client.KV().Keys(k.o.Prefix+"/forgotten/", "", options)
	if err != nil {
		return nil, fmt.Errorf("ask for the other nodes' keys: %s", words(err)) //nolint:errorlint // words for a page
	}
	var all []fleet.Claim
	for _, pair := range pairs {
		if slices.Contains(left, k.o.Prefix+"/forgotten/"+path.Base(pair.Key)) {
			continue // a node that left for good doesn't sign
		}
		var claims []fleet.Claim
		if err := json.Unmarshal(pair.Value, &claims); err != nil {
			return nil, fmt.Errorf("what Consul has at %s is no list of keys: %w", pair.Key, err)
		}
		all = append(all, claims...)
	}
	return all, nil
}

// turnWait bounds how long a try to take the turn asks the agent.
const turnWait = time.Second

// TakeTurn tries to become the one node that rotates. It is held until LeaveTurn, or until the agent is lost.
func (k *Keys) TakeTurn(ctx context.Context) (bool, error) {
	if k.turn != nil {
		select {
		case <-k.lost:
			_ = k.turn.Unlock() // it isn't held any more
			k.turn = nil
		default:
			return true, nil
		}
	}
	turn, err := k.client.LockOpts(&api.LockOptions{Key: k.o.Prefix + "/lock/rotation", Value: []byte(k.o.Node),
		SessionName: "postfleet rotation on " + k.o.Node, SessionTTL: "30s", LockTryOnce: true, LockWaitTime: turnWait,
		LockDelay: time.Millisecond})
	if err != nil {
		return false, fmt.Errorf("take turns to rotate: %w", err)
	}
	lost, err := turn.Lock(ctx.Done())
	if err != nil {
		return false, fmt.Errorf("take turns to rotate: %s", words(err)) //nolint:errorlint // words for a page
	}
	if lost == nil {
		return false, nil // another node's turn
	}
	k.turn, k.lost = turn, lost
	return true, nil
}

// LeaveTurn lets another node rotate.
func (k *Keys) LeaveTurn() {
	if k.turn == nil {
		return
	}
	if err := k.turn.Unlock(); err != nil {
		k.log.Warn("turn to rotate keys not given back; it ends with its session", zap.String("reason", words(err)))
	}
	k.turn = nil
}
