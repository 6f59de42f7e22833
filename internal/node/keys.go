package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/dnspublish"
	"github.com/postfleet/postfleet/internal/fleet"
)

// keysDir is where the state of the keys is, and the keys that rotations make, below the repository's directory: the
// configuration's own directory is the administrator's, and read-only for the daemon.
const keysDir = "keys"

// KeysDir is that directory.
func KeysDir(c *config.Milter) string { return filepath.Join(string(c.Repository.Dir), keysDir) }

// KeyOptions are the settings of a node's keys as their life takes them.
func KeyOptions(c *config.Milter, node string, now func() time.Time) life.Options {
	r := &c.DKIM.Rotation
	return life.Options{Dir: KeysDir(c), Node: node, Next: r.Selector, Require: c.DKIM.RequireDNS, KeepOld: r.KeepOld.Std(),
		Every: r.Every.Std(), Kinds: r.Types, Bits: r.Bits, Now: now}
}

// keeper lives the lives of a node's keys: it looks at DNS, asks about the other nodes' keys, publishes records where it may,
// and has the node sign with other keys when their time has come.
type keeper struct {
	life *life.Life
	node string
	log  *zap.Logger
	now  func() time.Time
	sign func(*dkim.Keyring) // puts other keys into use

	how     atomic.Pointer[keyHow]
	metrics *keyMetrics
	shared  *consul.Keys // nil: no Consul
	poke    chan struct{}

	mu     sync.Mutex
	peers  life.Peers           // as known last
	asked  time.Time            // when peers was
	said   []fleet.Claim        // this node's claims, as the others know them
	looked map[string]time.Time // names of records, and when DNS was asked last
	turn   time.Time            // since when this node has the turn to rotate; zero: it has not
}

// keyHow is what a reload changes.
type keyHow struct {
	resolver      *dnspublish.Resolver
	waiting, used time.Duration
	turn          time.Duration
	updater       *dnspublish.Updater // nil: records are published by hand
	remove        bool
}

func newKeyHow(c *config.Milter, now func() time.Time) (*keyHow, error) {
	how := &keyHow{resolver: ResolverOf(&c.DNS), waiting: c.DKIM.CheckWaiting.Std(), used: c.DKIM.CheckUsed.Std(), turn: c.DKIM.Rotation.Turn.Std(),
		remove: c.DNS.Update.Remove}
	var err error
	how.updater, err = UpdaterOf(&c.DNS, now)
	return how, err
}

// ResolverOf asks whom the configuration says.
func ResolverOf(c *config.DNS) *dnspublish.Resolver {
	r := &dnspublish.Resolver{Timeout: c.Timeout.Std()}
	for _, server := range c.Resolvers {
		r.Servers = append(r.Servers, string(server))
	}
	return r
}

// UpdaterOf changes zones as the configuration says; nil: it says nothing.
func UpdaterOf(c *config.DNS, now func() time.Time) (*dnspublish.Updater, error) {
	if c.Update.Server == "" {
		return nil, nil
	}
	u := &dnspublish.Updater{Server: string(c.Update.Server), Zones: c.Update.Zones, TTL: c.Update.TTL.Std(), Timeout: c.Timeout.Std(), Now: now}
	if c.Update.KeyFile != "" {
		var err error
		if u.Key, err = dnspublish.ReadTSIG(string(c.Update.KeyFile)); err != nil {
			return nil, &ConfigError{err}
		}
	}
	return u, nil
}

// usedBefore tells whether a node has worked with this repository: then the keys that it had signed with go on signing. An
// aggregator may have files of its own in the same directory.
func usedBefore(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".db") })
}

// keyOptionsHere are KeyOptions, and whether keys that signed before there were lives of keys go on signing on this host.
func keyOptionsHere(c *config.Milter, node string, now func() time.Time) life.Options {
	o := KeyOptions(c, node, now)
	o.Adopt = usedBefore(string(c.Repository.Dir))
	return o
}

// buildKeys opens the keys' lives; signer has those that the configuration names.
func (n *Node) buildKeys(c *config.Milter, signer *dkim.Signer) error {
	how, err := newKeyHow(c, n.o.Now)
	if err != nil {
		return err
	}
	k := &keeper{node: n.name, log: n.o.Log.Named("keys"), now: n.o.Now, sign: n.signWith, poke: make(chan struct{}, 1),
		looked: map[string]time.Time{}, peers: life.Peers{Known: true}}
	k.how.Store(how)
	if k.life, err = life.Open(keyOptionsHere(c, n.name, n.o.Now), signer.Keyring()); err != nil {
		return &ConfigError{fmt.Errorf("dkim: %w", err)}
	}
	k.metrics = newKeyMetrics(n.o.Registry, k.life)
	n.keys = k
	n.live.Store(&live{config: c, signer: signer.WithKeys(k.life.Keyring())})
	n.stops.add("keys", n.keeping.stop)
	return nil
}

// signWith puts other keys into use.
func (n *Node) signWith(ring *dkim.Keyring) {
	n.changing.Lock()
	defer n.changing.Unlock()
	now := n.live.Load()
	next := &live{config: now.config, signer: now.signer.WithKeys(ring)}
	n.live.Store(next)
	n.milter.Reload(policy(next.config, next.signer))
	if n.registrar != nil {
		n.registrar.Refresh() // it tells the selectors
	}
}

// run lives until ctx ends.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(keyTick)
	defer tick.Stop()
	defer k.leaveTurn()
	for {
		k.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.poke:
		}
	}
}

// keyTick is how often the keeper looks whether something is due.
const keyTick = time.Second

// round does what is due.
func (k *keeper) round(ctx context.Context) {
	if k.life.Changed() {
		k.note("read what a command changed", k.life.Refresh(nil))
		k.use()
	}
	k.schedule(ctx)
	k.look(ctx)
	k.share(ctx)
	k.step()
	k.publish(ctx) // last: a key that clashes with another node's is known by now
}

// first looks once before mail is taken, so that a node whose first key is in DNS signs from its first message on.
func (k *keeper) first(ctx context.Context) {
	keys := k.life.Keys().Keys
	waits := slices.ContainsFunc(keys, func(key fleet.Key) bool { return key.Stage == fleet.StageWaiting })
	if !waits {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	k.look(ctx)
	k.share(ctx)
	k.step()
}

// firstLook bounds how long the first look keeps mail waiting.
const firstLook = 3 * time.Second

func (k *keeper) step() {
	k.mu.Lock()
	peers := k.peers
	k.mu.Unlock()
	changed, err := k.life.Step(peers)
	k.note("move the keys on", err)
	if changed {
		k.use()
	}
}

// use signs with the keys that sign now.
func (k *keeper) use() {
	ring := k.life.Keyring()
	k.sign(ring)
	var names []string
	for _, key := range ring.Keys() {
		names = append(names, key.RecordName())
	}
	k.log.Info("keys in use", zap.Strings("keys", names))
}

func (k *keeper) note(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		k.log.Warn("keys: "+what, zap.Error(err))
	}
}

// wake has the next round begin now, with a look at every record.
func (k *keeper) wake() {
	k.mu.Lock()
	clear(k.looked)
	k.asked = time.Time{}
	k.mu.Unlock()
	select {
	case k.poke <- struct{}{}:
	default: // one is on its way
	}
}

// reload takes another configuration. All that can fail is done before anything changes.
func (k *keeper) reload(c *config.Milter, ring *dkim.Keyring) error {
	how, err := newKeyHow(c, k.now)
	if err != nil {
		return err
	}
	if err := k.life.Configure(KeyOptions(c, k.node, k.now), ring); err != nil {
		return &ConfigError{fmt.Errorf("dkim: %w", err)}
	}
	k.how.Store(how)
	k.wake()
	return nil
}
