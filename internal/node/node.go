package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/carried"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node/mta"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/internal/repository"
	"github.com/postfleet/postfleet/milter"
)

// Node is a node daemon. New binds all its listeners, Start lets it work, Reload changes its policy, Stop ends it.
type Node struct {
	name    string
	o       Options
	started time.Time
	live    atomic.Pointer[live]

	store        *repository.Repository
	milter       *milter.Server
	follower     *follower
	postfix      *mta.Postfix
	health       *mailHealth
	drains       *drainer
	status       *status               // nil: none
	api          *nodeapi.Server       // nil: none
	consul       *consul.Client        // nil: none
	certificates pki.Source            // of the node API; nil without one
	credentials  pki.Options           // with certificates
	relay        *relaying             // nil: the node takes no part
	puller       *carried.Puller       // nil: without a certificate nobody is asked
	leaf         *consul.Leaf          // nil: the certificate is not Consul's
	registrar    *consul.Registrar     // nil: none
	settings     settings              // of the fleet
	members      *consul.Members       // the nodes of the fleet; nil without Consul
	follows      func(context.Context) // what Consul says of both; nil without
	keys         *keeper               // of DKIM
	diagnostics  *diagnostician

	following, leafing, registering, fleeting, watching, keeping, diagnosing, relayRuns, pulling loop

	changing sync.Mutex // orders those who replace live

	running  sync.WaitGroup // servers
	serving  atomic.Bool    // the milter takes connections
	draining atomic.Bool
	refused  atomic.Int64 // configurations that Reload refused
	stops    cleanups
}

// live is what a reload replaces.
type live struct {
	config *config.Milter
	signer *dkim.Signer
}

// New opens the repository and binds every listener, so that whatever can be wrong is known before anything runs. A
// [ConfigError] is the configuration's fault.
func New(c *config.Milter, o Options) (_ *Node, err error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	name, err := c.NodeName(o.Hostname)
	if err != nil {
		return nil, &ConfigError{err}
	}
	o.Log = o.Log.With(zap.String("node", name))
	n := &Node{name: name, o: o, started: o.Now(), postfix: mta.New(postfixOptions(&c.Postfix, &o))}
	n.stops.log = o.Log
	defer func() {
		if err != nil {
			_ = n.stops.run(context.Background()) // nothing runs yet; err is what went wrong
		}
	}()
	signer, err := newSigner(&c.DKIM, name, n.lineLimit())
	if err != nil {
		return nil, err
	}
	if err := n.buildKeys(c, signer); err != nil {
		return nil, err
	}
	n.buildDrain(c)
	limit := &queueLimit{settings: func() fleet.Settings { return n.settings.Settings() }, queue: n.postfix.Queue}
	n.health = &mailHealth{drain: n.drains.check, milter: n.milterCheck, queue: limit.check, now: o.Now,
		banner: func(ctx context.Context) (string, error) { return mta.Banner(ctx, string(c.Postfix.SMTPAddress)) }}
	// Ended in reverse: the milter drains while health and node API still answer, and the log is read to the last.
	for _, build := range []func(*config.Milter) error{n.buildStore, n.buildFollower, n.buildConsul, n.buildFleet, n.buildDiagnose,
		n.buildAPI, n.buildCarried, n.buildStatus, n.buildMilter, n.buildRelay, n.buildRegistrar} {
		if err := build(c); err != nil {
			return nil, err
		}
	}
	n.drains.look() // before Consul's agent asks for the first time
	n.register()
	return n, nil
}

// Start lets the node work and returns. What ends a part of it before Stop goes to failed. It is called once.
func (n *Node) Start(failed func(error)) error {
	n.following.start(n.follower.run)
	if n.leaf != nil {
		n.leafing.start(n.leaf.Run)
	}
	if n.follows != nil {
		n.fleeting.start(n.follows)
	}
	serve := func(serve func() error) {
		n.running.Go(func() {
			if err := serve(); err != nil {
				failed(err)
			}
		})
	}
	if n.api != nil {
		serve(n.api.Serve)
	}
	if n.status != nil {
		serve(n.status.serve)
	}
	n.watching.start(n.drains.run)
	n.keys.first(context.Background())
	n.milter.Start()
	n.startRelay()
	if n.puller != nil {
		n.pulling.start(n.puller.Run)
	}
	n.keeping.start(n.keys.run)
	n.diagnosing.start(n.diagnostics.run)
	n.serving.Store(true)
	if n.registrar != nil {
		n.registering.start(n.registrar.Run)
	}
	n.o.Log.Info("node works", zap.String("version", n.o.Version), zap.Strings("does", n.summary()))
	return nil
}

// apiChecks tell whether the node API can answer.
func (n *Node) apiChecks(context.Context) []fleet.Check {
	check := fleet.Check{Name: "node API", OK: true, Text: "is off"}
	if n.api != nil {
		check.Text = "listens on " + n.api.Addr().String()
	}
	if n.leaf != nil {
		if _, _, err := n.leaf.Credentials(); err != nil {
			check.OK, check.Text = false, err.Error()
		}
	}
	return []fleet.Check{check}
}

// Reload takes a new policy: keys, who is signed for, what is kept of a message and how long. All that can fail is done before
// anything changes, so that after an error the node works on as before.
func (n *Node) Reload(c *config.Milter) error {
	err := n.reload(c)
	if err != nil {
		n.refused.Add(1)
	}
	return err
}

func (n *Node) reload(c *config.Milter) error {
	if err := config.CanReload(n.live.Load().config, c); err != nil {
		return err
	}
	signer, err := newSigner(&c.DKIM, n.name, n.lineLimit())
	if err != nil {
		return err
	}
	if err := n.store.SetKeep(keep(c)); err != nil {
		return err
	}
	if err := n.keys.reload(c, signer.Keyring()); err != nil {
		return err
	}
	signer = signer.WithKeys(n.keys.life.Keyring())
	n.changing.Lock()
	defer n.changing.Unlock()
	n.live.Store(&live{config: c, signer: signer})
	n.milter.Reload(policy(c, signer))
	n.settings.Configure(configuredFleet(c))
	n.reloadRelay(c)
	if n.registrar != nil {
		n.registrar.Refresh() // the selectors may be others
	}
	return nil
}

// Stop ends the node: it drains the milter first, so that messages under way are finished and recorded, then the rest in
// reverse order of its start. What doesn't end with ctx is left behind and named in the error.
func (n *Node) Stop(ctx context.Context) error {
	err := n.stops.run(ctx)
	n.running.Wait()
	return err
}

// Addresses are where the node listens, for tests that ask for any free port.
func (n *Node) Addresses() (api, status string) {
	if n.api != nil {
		api = n.api.Addr().String()
	}
	if n.status != nil {
		status = n.status.address().String()
	}
	return api, status
}
