package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/carried"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/internal/repository"
	"github.com/postfleet/postfleet/milter"
)

// infoTimeout bounds the wait for facts that somebody else has to look up.
const infoTimeout = 5 * time.Second

// bounded is a context for questions that must not take long.
func (n *Node) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), infoTimeout)
}

// lineLimit is where Postfix breaks lines; its default where it can't be asked.
func (n *Node) lineLimit() int {
	ctx, cancel := n.bounded()
	defer cancel()
	limit, err := n.postfix.LineLimit(ctx)
	if err != nil {
		n.o.Log.Warn("taking Postfix's default for smtp_line_length_limit", zap.Error(err))
		return dkim.DefaultLineLimit
	}
	return limit
}

func (n *Node) buildStore(c *config.Milter) error {
	store, err := repository.Open(repositoryOptions(c, n.name, &n.o))
	if err != nil {
		return err
	}
	n.store = store
	n.stops.add("repository", func(context.Context) error { return store.Close() })
	return nil
}

func (n *Node) buildFollower(c *config.Milter) error {
	n.follower = &follower{source: openLog(&c.Postfix.Log, n.o.Log), store: n.store, hop: n.hopNode, log: n.o.Log.Named("log")}
	n.stops.add("log follower", n.following.stop)
	return nil
}

func (n *Node) buildMilter(c *config.Milter) error {
	options := milterOptions(&c.Milter, policy(c, n.live.Load().signer), n.store, &n.o)
	options.HopOrigin, options.HopSigning = n.hopOrigin, n.hopSigning
	server, err := milter.New(options)
	if err != nil {
		return fmt.Errorf("milter: %w", err)
	}
	n.milter = server
	n.stops.add("milter", n.drain)
	return nil
}

// drain stops taking mail and finishes the messages under way.
func (n *Node) drain(ctx context.Context) error {
	n.draining.Store(true)
	n.serving.Store(false)
	ctx, cancel := context.WithTimeout(ctx, n.live.Load().config.Milter.DrainTimeout.Std())
	defer cancel()
	return n.milter.Shutdown(ctx)
}

func (n *Node) buildConsul(c *config.Milter) error {
	if !c.Consul.Enabled {
		return nil
	}
	client, err := newConsulClient(&c.Consul.Consul, &n.o)
	if err != nil {
		return err
	}
	n.consul = client
	n.keys.shared = consul.NewKeys(consul.KeysOptions{Client: client, Prefix: c.Consul.KVPrefix, Node: n.name})
	n.keys.peers = life.Peers{Why: "Consul was not asked yet"}
	n.stops.add("consul client", func(context.Context) error { client.Close(); return nil })
	return nil
}

func (n *Node) buildAPI(c *config.Milter) error {
	var credentials pki.Options
	var err error
	switch certificateSource(c, n.name) {
	case noAPI:
		if c.API.Certificates != noAPI {
			n.o.Log.Warn("node API is off: there is no certificate", zap.String("file", c.API.CertFile.Expand(n.name)))
		}
		return nil
	case fromFiles:
		if credentials, err = fileCredentials(&c.API, n.name, &n.o); err != nil {
			return err
		}
	case fromConsul:
		n.leaf = connectLeaf(c, n.name, n.consul)
		n.stops.add("certificate from consul", n.leafing.stop)
		credentials = pki.Options{Source: n.leaf, Scheme: connectScheme(c), Now: n.o.Now}
	}
	n.certificates, n.credentials = credentials.Source, credentials
	handler := nodeapi.NewHandler(nodeapi.Options{Node: n.name, Store: n.store, Carrier: &carried.Answerer{Messages: n.store}, Info: n.Info, Log: n.o.Log.Named("nodeapi"),
		Registerer: n.o.Registry, Now: n.o.Now, Drain: n.drains.order, Caller: caller(credentials), Keys: n.keys, Diagnostics: n.diagnostics})
	n.api, err = nodeapi.Listen(nodeapi.ServerOptions{Address: string(c.API.Listen), Handler: handler,
		TLS: pki.ServerConfig(credentials, pki.Aggregator, pki.Node), Log: n.o.Log.Named("nodeapi")})
	if err != nil {
		return err
	}
	n.stops.add("node API", n.api.Shutdown)
	return nil
}

// caller reads from its certificate who asks.
func caller(credentials pki.Options) func(*tls.ConnectionState) (nodeapi.Caller, error) {
	return func(state *tls.ConnectionState) (nodeapi.Caller, error) {
		id, err := credentials.Peer(state)
		return nodeapi.Caller{Name: id.Name, Aggregator: id.Role == pki.Aggregator}, err
	}
}

func (n *Node) buildStatus(c *config.Milter) error {
	if c.Status.Listen == "" {
		return nil
	}
	var err error
	n.status, err = newStatus(statusOptions{
		listen:   string(c.Status.Listen),
		gatherer: n.o.Registry,
		alive:    n.apiChecks,
		mail:     n.health.checks,
		drain:    n.drains.state,
		log:      n.o.Log.Named("status"),
	})
	if err != nil {
		return err
	}
	n.stops.add("status listener", n.status.stop)
	return nil
}

// buildRegistrar has the last word to add: what Consul knows of goes first.
func (n *Node) buildRegistrar(c *config.Milter) error {
	if n.consul == nil {
		return nil
	}
	n.registrar = consul.NewRegistrar(consul.RegistrarOptions{Client: n.consul, Services: n.services,
		DeregisterAfter: c.Consul.Deregister.Std()})
	n.stops.add("consul registration", func(ctx context.Context) error {
		return errors.Join(n.registering.stop(ctx), n.registrar.Deregister(ctx))
	})
	return nil
}
