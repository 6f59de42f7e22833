package node

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node/mta"
	"github.com/postfleet/postfleet/internal/repository"
	"github.com/postfleet/postfleet/milter"
)

// Options are what a node has from its process rather than from its configuration.
type Options struct {
	Version  string
	Hostname string
	Log      *zap.Logger
	Registry *prometheus.Registry // what /metrics shows; nil: one of the node's own
	Now      func() time.Time     // nil: time.Now
}

func (o *Options) fill() error {
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Hostname == "" {
		var err error
		if o.Hostname, err = os.Hostname(); err != nil {
			return fmt.Errorf("host name: %w", err)
		}
	}
	return nil
}

// ConfigError is a configuration that is well written and can't be used: a key that others can read, a certificate that
// isn't there. Trying again doesn't help.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

func newSigner(c *config.DKIM, name string, lineLimit int) (*dkim.Signer, error) {
	signer, err := dkim.New(dkim.Options{
		KeysDir:          string(c.KeysDir),
		Node:             name,
		Selector:         c.Selector,
		Domains:          c.Domains,
		Exclude:          c.Exclude,
		FallbackDomain:   c.FallbackDomain,
		Canonicalization: c.Canonicalization,
		Headers:          c.Headers,
		Oversign:         c.Oversign,
		Expire:           c.Expire.Std(),
		Identity:         c.Identity,
		OnMissingKey:     c.OnMissingKey,
		OnBadFrom:        c.OnBadFrom,
		LineLimit:        lineLimit,
	})
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("dkim: %w", err)}
	}
	return signer, nil
}

// policy is the part of the milter that a reload changes.
func policy(c *config.Milter, signer *dkim.Signer) milter.Policy {
	p := milter.Policy{
		Sign:        func(now time.Time) milter.Signing { return signer.Begin(now) },
		Services:    c.Milter.SignServices,
		Transcripts: c.Milter.Transcripts,
		Headers:     c.Privacy.Headers,
	}
	for _, network := range c.Milter.SignNetworks {
		p.Networks = append(p.Networks, network.Prefix)
	}
	return p
}

func milterOptions(c *config.Filter, p milter.Policy, store *repository.Repository, o *Options) milter.Options {
	options := milter.Options{
		Policy:         p,
		Recorder:       recorder{store},
		RecordWait:     c.RecordWait.Std(),
		MaxConnections: c.MaxConnections,
		ReadTimeout:    c.ReadTimeout.Std(),
		WriteTimeout:   c.WriteTimeout.Std(),
		Clock:          o.Now,
		Log:            o.Log.Named("milter"),
		Metrics:        o.Registry,
	}
	if options.RecordWait == 0 {
		options.RecordWait = -1 // what 0 means in the file
	}
	for _, listen := range c.Listen {
		options.Listen = append(options.Listen, milter.Listen{
			Network:     listen.Address.Network,
			Address:     listen.Address.Address,
			Mode:        fs.FileMode(listen.Mode),
			Group:       listen.Group,
			AllowRemote: listen.AllowRemote,
		})
	}
	return options
}

// recorder gives the milter's events to the repository.
type recorder struct{ store *repository.Repository }

func (r recorder) Record(ctx context.Context, e *fleet.Event) error { return r.store.Append(ctx, e) }

func repositoryOptions(c *config.Milter, name string, o *Options) repository.Options {
	bounds := keep(c)
	minFree := int64(c.Repository.MinFree)
	if minFree == 0 {
		minFree = -1 // what 0 means in the file
	}
	return repository.Options{
		Dir:          string(c.Repository.Dir),
		Node:         name,
		Log:          o.Log.Named("repository"),
		Registerer:   o.Registry,
		Now:          o.Now,
		Messages:     bounds.Messages,
		Transcripts:  bounds.Transcripts,
		Pseudonymise: bounds.Pseudonymise,
		MinFree:      minFree,
	}
}

// keep is the part of the repository that a reload changes.
func keep(c *config.Milter) repository.Keep {
	return repository.Keep{
		Messages:     repository.Retention{Age: c.Repository.KeepMessages.Std(), Bytes: int64(c.Repository.MaxMessagesSize)},
		Transcripts:  repository.Retention{Age: c.Repository.KeepTranscripts.Std(), Bytes: int64(c.Repository.MaxTranscriptsSize)},
		Pseudonymise: c.Privacy.PseudonymiseAfter.Std(),
	}
}

func postfixOptions(c *config.Postfix, o *Options) mta.Options {
	return mta.Options{ConfigDir: string(c.ConfigDir), QueueDir: string(c.QueueDir), Now: o.Now}
}

// loopbackURL is where this host reaches a listener of its own.
func loopbackURL(listening netip.AddrPort, path string) string {
	addr := listening.Addr().Unmap()
	if addr.IsUnspecified() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return "http://" + netip.AddrPortFrom(addr, listening.Port()).String() + path
}
