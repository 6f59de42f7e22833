package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"
)

// Service is one service of this host.
type Service struct {
	ID      string // unique on the agent
	Name    string
	Address string // where others reach it; empty: the agent's own
	Port    int
	Tags    []string
	Meta    map[string]string // see NodeMeta
	Weight  int               // share in SRV answers (RFC 2782); 0: 1
	Check   string            // URL that the agent asks, on this host: fit while it answers 2xx
	// CheckEvery is how often the agent asks; 0: as often as RegistrarOptions say.
	CheckEvery time.Duration
}

func (s *Service) weight() int { return max(s.Weight, 1) }

// RegistrarOptions make a registrar.
type RegistrarOptions struct {
	Client *Client
	// Services tells what to register; it is asked again and again, so that a changed selector or version shows.
	Services   func() []Service
	Every      time.Duration // between looks at whether the agent still has them; 0: 10 s
	CheckEvery time.Duration // between the agent's questions; 0: 5 s. One bad answer is enough, one good one too
	// DeregisterAfter is how long a service may be unfit before Consul forgets it. 0: never; a node that is away still
	// owns its history.
	DeregisterAfter time.Duration
}

// check is what an agent doesn't tell of a check.
type check struct {
	url   string
	every time.Duration
}

// askTimeout bounds a look at the agent, which answers these questions by itself.
const askTimeout = 20 * time.Second

// Registrar keeps the services of this host registered with the agent. An agent without a data directory forgets them
// when it restarts, and an operator can take them away; both are noticed and mended.
type Registrar struct {
	o       RegistrarOptions
	log     *zap.Logger
	refresh chan struct{}
	known   map[string]check // by the id of a service that is registered; used by one goroutine at a time
}

// NewRegistrar makes a registrar; Run registers.
func NewRegistrar(o RegistrarOptions) *Registrar {
	o.Every = cmp.Or(o.Every, 10*time.Second)
	o.CheckEvery = cmp.Or(o.CheckEvery, 5*time.Second)
	return &Registrar{o: o, log: o.Client.log, refresh: make(chan struct{}, 1), known: map[string]check{}}
}

// Run registers the services and keeps them registered until ctx ends. It leaves them registered: see Deregister.
func (r *Registrar) Run(ctx context.Context) {
	trouble := trouble{log: r.log.With(zap.String("query", "register"))}
	for ctx.Err() == nil {
		err := r.reconcile(ctx)
		r.o.Client.metrics.answered("register", err)
		wait := r.o.Every
		switch {
		case err == nil:
			trouble.over()
		case ctx.Err() == nil:
			trouble.note(err)
			wait = min(wait, r.o.Client.retryAfter(trouble.count))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.refresh:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Refresh has Run look at the services now, because one of them changed.
func (r *Registrar) Refresh() {
	select {
	case r.refresh <- struct{}{}:
	default: // a look is due already
	}
}

// Deregister takes the services away from the agent. Call it after Run has returned, when the host leaves for a while;
// without it Consul shows them as unfit. An agent that is away is logged and no error: there is nobody to tell.
func (r *Registrar) Deregister(ctx context.Context) error {
	var all error
	for _, id := range slices.Sorted(maps.Keys(r.known)) {
		err := r.deregister(ctx, id)
		if err != nil && !errors.As(err, new(api.StatusError)) { // no answer at all
			r.log.Warn("service stays registered: consul is away", zap.String("service", id), zap.Error(err))
			err = nil
		}
		all = errors.Join(all, err)
	}
	return all
}

func (r *Registrar) deregister(ctx context.Context, id string) error {
	agent := r.o.Client.api.Agent()
	if err := agent.ServiceDeregisterOpts(id, new(api.QueryOptions).WithContext(ctx)); err != nil && !isNotFound(err) {
		return fmt.Errorf("deregister %s: %w", id, err)
	}
	delete(r.known, id)
	r.log.Info("service deregistered from consul", zap.String("service", id))
	return nil
}

// reconcile registers what the agent lacks or has otherwise, and takes away what is no longer a service of this host.
func (r *Registrar) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	wanted := map[string]bool{}
	var all error
	for _, service := range r.o.Services() {
		wanted[service.ID] = true
		all = errors.Join(all, r.ensure(ctx, service))
	}
	for id := range r.known {
		if !wanted[id] {
			all = errors.Join(all, r.deregister(ctx, id))
		}
	}
	return all
}

func (r *Registrar) ensure(ctx context.Context, service Service) error {
	there, err := r.registered(ctx, service)
	if err != nil {
		return fmt.Errorf("look for %s: %w", service.ID, err)
	}
	before, known := r.known[service.ID]
	now := check{service.Check, cmp.Or(service.CheckEvery, r.o.CheckEvery)}
	if there && before == now {
		return nil
	}
	registration := r.registration(&service, now)
	agent := r.o.Client.api.Agent()
	options := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
	if err := agent.ServiceRegisterOpts(registration, options); err != nil {
		return fmt.Errorf("register %s: %w", service.ID, err)
	}
	r.o.Client.metrics.registrations.Inc()
	r.log.Info("service registered with consul", zap.String("service", service.ID), zap.Bool("again", known))
	r.known[service.ID] = now
	return nil
}

// registered tells whether the agent has the service as wanted, with one check. What the check asks an agent doesn't tell,
// so that every run of the daemon registers once; an agent keeps the state of a check that stays the same.
func (r *Registrar) registered(ctx context.Context, service Service) (bool, error) {
	agent := r.o.Client.api.Agent()
	// By a filter: asked for a service that it lacks by name, an agent logs an error.
	services, err := agent.ServicesWithFilterOpts("ID == "+strconv.Quote(service.ID), new(api.QueryOptions).WithContext(ctx))
	if err != nil {
		return false, err
	}
	got := services[service.ID]
	if got == nil || got.Service != service.Name || got.Address != service.Address || got.Port != service.Port ||
		!slices.Equal(got.Tags, service.Tags) || !maps.Equal(got.Meta, service.Meta) || got.Weights.Passing != service.weight() {
		return false, nil
	}
	checks, err := agent.ChecksWithFilterOpts("ServiceID == "+strconv.Quote(service.ID), new(api.QueryOptions).WithContext(ctx))
	if err != nil {
		return false, err
	}
	return len(checks) == 1 && checks[checkID(&service)] != nil, nil
}

func (r *Registrar) registration(service *Service, c check) *api.AgentServiceRegistration {
	check := &api.AgentServiceCheck{
		CheckID:  checkID(service),
		Name:     service.Name + " check",
		HTTP:     c.url,
		Method:   http.MethodGet,
		Interval: c.every.String(),
		Timeout:  max(c.every, shortestTimeout).String(),
	}
	if r.o.DeregisterAfter > 0 {
		check.DeregisterCriticalServiceAfter = r.o.DeregisterAfter.String()
	}
	return &api.AgentServiceRegistration{ID: service.ID, Name: service.Name, Address: service.Address, Port: service.Port,
		Tags: service.Tags, Meta: service.Meta, Weights: &api.AgentWeights{Passing: service.weight(), Warning: service.weight()}, Check: check}
}

// shortestTimeout leaves the node time to ask Postfix.
const shortestTimeout = 5 * time.Second

func checkID(service *Service) string { return "check:" + service.ID }

func isNotFound(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}
