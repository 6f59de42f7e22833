package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"
)

// LeafOptions make a leaf.
type LeafOptions struct {
	Client    *Client
	Service   string // whose certificate; the token needs service:write for it
	StateFile string // keeps certificate and key over a restart while Consul is away; empty: not kept
}

// Leaf is the certificate that Consul's Connect CA gives a service, with the roots that the CA trusts. The agent renews
// it before it expires, and when the CA's root changes; here that arrives by blocking queries, and reaches the next
// connection. It is safe for several goroutines.
type Leaf struct {
	o   LeafOptions
	log *zap.Logger

	mu    sync.Mutex
	state leafState
	cert  *tls.Certificate
	pool  *x509.CertPool
	err   error // why there is no certificate yet
	ready chan struct{}
}

// leafState is the state file.
type leafState struct {
	Service string   `json:"service"`
	Cert    string   `json:"certificate"` // PEM, intermediates after it
	Key     string   `json:"key"`
	Roots   []string `json:"roots"`
}

// NewLeaf begins with the certificate of the state file. One that can't be used is logged and replaced by Consul's answer.
func NewLeaf(o LeafOptions) *Leaf {
	l := &Leaf{o: o, log: o.Client.log, err: errors.New("not asked yet"), ready: make(chan struct{})}
	if o.StateFile == "" {
		return l
	}
	var state leafState
	err := loadState(o.StateFile, &state)
	if errors.Is(err, fs.ErrNotExist) {
		return l
	}
	if err == nil && state.Service != o.Service {
		err = fmt.Errorf("it is for service %q", state.Service)
	}
	if err == nil {
		err = l.change(func(s *leafState) { *s = state })
	}
	if err != nil {
		l.log.Warn("certificate of the last run can't be used", zap.String("file", o.StateFile), zap.Error(err))
	}
	return l
}

// leafWait is how long the questions for certificate and roots wait. After a change of the root the agent chooses, anew for
// every question, a moment in the next 30 s for the renewal: shorter questions would put it off again and again.
const leafWait = 5 * time.Minute

// Run follows the certificate and the roots until ctx ends.
func (l *Leaf) Run(ctx context.Context) {
	agent := l.o.Client.api.Agent()
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		l.o.Client.watch(ctx, "roots", leafWait, func(q *api.QueryOptions) (*api.QueryMeta, error) {
			list, meta, err := agent.ConnectCARoots(q)
			if err == nil {
				err = l.takeRoots(list)
			}
			return meta, l.note(err)
		})
	})
	l.o.Client.watch(ctx, "certificate", leafWait, func(q *api.QueryOptions) (*api.QueryMeta, error) {
		leaf, meta, err := agent.ConnectCALeaf(l.o.Service, q)
		if err == nil {
			err = l.takeLeaf(leaf)
		}
		return meta, l.note(err)
	})
}

// Ready is closed when there is a certificate to show.
func (l *Leaf) Ready() <-chan struct{} { return l.ready }

// Credentials gives the certificate to show and the roots to trust at this moment.
func (l *Leaf) Credentials() (*tls.Certificate, *x509.CertPool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cert == nil || l.pool == nil {
		return nil, nil, fmt.Errorf("no certificate for %s from Consul yet: %w", l.o.Service, l.err)
	}
	return l.cert, l.pool, nil
}

// note keeps the reason for which there is no certificate yet.
func (l *Leaf) note(err error) error {
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.err = errors.New(words(err))
	}
	return err
}

func (l *Leaf) takeLeaf(leaf *api.LeafCert) error {
	err := l.change(func(s *leafState) { s.Service, s.Cert, s.Key = l.o.Service, leaf.CertPEM, leaf.PrivateKeyPEM })
	if err != nil {
		return err
	}
	l.log.Info("certificate from consul", zap.String("service", l.o.Service), zap.String("serial", leaf.SerialNumber),
		zap.Time("valid_until", leaf.ValidBefore))
	return nil
}

func (l *Leaf) takeRoots(list *api.CARootList) error {
	roots := make([]string, 0, len(list.Roots))
	for _, root := range list.Roots {
		roots = append(roots, root.RootCertPEM)
	}
	return l.change(func(s *leafState) { s.Roots = roots })
}

// change takes a new state if it can be used, and keeps it for the next start.
func (l *Leaf) change(set func(*leafState)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.state
	set(&next)
	cert, pool, err := next.parse()
	if err != nil {
		return err
	}
	l.state, l.cert, l.pool = next, cert, pool
	if cert == nil || pool == nil {
		return nil
	}
	l.o.Client.metrics.expires(cert.Leaf.NotAfter)
	select {
	case <-l.ready:
	default:
		close(l.ready)
	}
	if l.o.StateFile != "" {
		if err := saveState(l.o.StateFile, next); err != nil {
			l.log.Warn("certificate not kept for the next start", zap.String("file", l.o.StateFile), zap.Error(err))
		}
	}
	return nil
}

// parse gives nil for what is not there yet.
func (s *leafState) parse() (*tls.Certificate, *x509.CertPool, error) {
	var cert *tls.Certificate
	var pool *x509.CertPool
	if s.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(s.Cert), []byte(s.Key))
		if err != nil {
			return nil, nil, fmt.Errorf("certificate from consul: %w", err)
		}
		cert = &pair
	}
	for _, root := range s.Roots {
		if pool == nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(root)) {
			return nil, nil, errors.New("root from consul: no PEM certificate in it")
		}
	}
	return cert, pool, nil
}
