package consul

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
)

// fakeAgent keeps registrations, as far as a registrar asks for them.
type fakeAgent struct {
	mu            sync.Mutex
	services      map[string]*api.AgentServiceRegistration
	registrations int
	broken        bool
	refusals      int // while it was broken
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.services == nil {
		a.services = map[string]*api.AgentServiceRegistration{}
	}
	filtered := func(field string) *api.AgentServiceRegistration {
		id := strings.Trim(strings.TrimPrefix(r.URL.Query().Get("filter"), field+" == "), `"`)
		return a.services[id]
	}
	switch path := r.URL.Path; {
	case a.broken:
		a.refusals++
		http.Error(w, "broken", http.StatusInternalServerError)
	case path == "/v1/agent/service/register" && r.URL.Query().Get("replace-existing-checks") == "true":
		var service api.AgentServiceRegistration
		if err := json.NewDecoder(r.Body).Decode(&service); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.services[service.ID] = &service
		a.registrations++
	case strings.HasPrefix(path, "/v1/agent/service/deregister/"):
		id := strings.TrimPrefix(path, "/v1/agent/service/deregister/")
		if a.services[id] == nil {
			http.Error(w, "Unknown service ID", http.StatusNotFound)
		}
		delete(a.services, id)
	case path == "/v1/agent/services":
		all := map[string]*api.AgentService{}
		if s := filtered("ID"); s != nil {
			all[s.ID] = &api.AgentService{ID: s.ID, Service: s.Name, Address: s.Address, Port: s.Port, Tags: s.Tags, Meta: s.Meta,
				Weights: *s.Weights}
		}
		reply(w, 1, all)
	case path == "/v1/agent/checks":
		all := map[string]*api.AgentCheck{}
		if s := filtered("ServiceID"); s != nil && s.Check != nil {
			all[s.Check.CheckID] = &api.AgentCheck{CheckID: s.Check.CheckID} // without its definition, as Consul answers
		}
		reply(w, 1, all)
	default:
		http.Error(w, "not played: "+path, http.StatusNotImplemented)
	}
}

func (a *fakeAgent) change(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *fakeAgent) ids() (ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.services {
		ids = append(ids, id)
	}
	return ids
}

func TestRegistrar(t *testing.T) {
	agent := &fakeAgent{}
	api1 := Service{ID: "n-mx1", Name: "n", Address: "192.0.2.1", Port: 8525, Tags: []string{"x"}, Meta: map[string]string{"node": "mx1"}, Check: "http://127.0.0.1:1/healthz"}
	var mu sync.Mutex
	services := []Service{api1}
	r := NewRegistrar(RegistrarOptions{Client: newTestClient(t, agent), Every: 5 * time.Millisecond, DeregisterAfter: 72 * time.Hour,
		Services: func() []Service {
			mu.Lock()
			defer mu.Unlock()
			return services
		}})
	stop := goUntil(t, r.Run)
	count := func() (n int) {
		agent.change(func() { n = agent.registrations })
		return n
	}
	await(t, "the registration", func() bool { return count() == 1 })
	var got *api.AgentServiceRegistration
	agent.change(func() { got = agent.services["n-mx1"] })
	want := &api.AgentServiceRegistration{ID: "n-mx1", Name: "n", Address: "192.0.2.1", Port: 8525, Tags: []string{"x"}, Meta: api1.Meta,
		Weights: &api.AgentWeights{Passing: 1, Warning: 1},
		Check: &api.AgentServiceCheck{CheckID: "check:n-mx1", Name: "n check", HTTP: api1.Check, Method: "GET", Interval: "5s", Timeout: "5s",
			DeregisterCriticalServiceAfter: "72h0m0s"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	for _, step := range []struct {
		name   string
		change func(s *api.AgentServiceRegistration)
	}{
		{"name", func(s *api.AgentServiceRegistration) { s.Name = "x" }},
		{"address", func(s *api.AgentServiceRegistration) { s.Address = "192.0.2.2" }},
		{"port", func(s *api.AgentServiceRegistration) { s.Port = 1 }},
		{"tags", func(s *api.AgentServiceRegistration) { s.Tags = nil }},
		{"meta", func(s *api.AgentServiceRegistration) { s.Meta = map[string]string{"node": "mx1", "x": "y"} }},
		{"weight", func(s *api.AgentServiceRegistration) { s.Weights = &api.AgentWeights{Passing: 2} }},
		{"check gone", func(s *api.AgentServiceRegistration) { s.Check = nil }},
		{"check under another name", func(s *api.AgentServiceRegistration) { s.Check.CheckID = "x" }},
		{"everything gone", func(*api.AgentServiceRegistration) { delete(agent.services, "n-mx1") }},
	} {
		before := count()
		agent.change(func() { step.change(agent.services["n-mx1"]) })
		await(t, "a registration after: "+step.name, func() bool { return count() == before+1 })
	}
	before := count()
	mu.Lock()
	services[0].Check = "http://127.0.0.1:2/healthz"
	mu.Unlock()
	await(t, "a registration after: another check", func() bool { return count() == before+1 })
	before = count()
	mu.Lock()
	services[0].CheckEvery, services[0].Weight = time.Second, 70
	mu.Unlock()
	await(t, "a registration after: asked more often", func() bool { return count() == before+1 })
	agent.change(func() { got = agent.services["n-mx1"] })
	if got.Check.Interval != "1s" || got.Check.Timeout != "5s" || got.Weights.Passing != 70 {
		t.Errorf("asked every %s, for %s, weight %d", got.Check.Interval, got.Check.Timeout, got.Weights.Passing)
	}
	before = count()
	agent.change(func() { agent.broken = true })
	await(t, "a second attempt", func() (again bool) {
		agent.change(func() { again = agent.refusals > 1 })
		return again
	})
	agent.change(func() { agent.services, agent.broken = nil, false })
	await(t, "a registration after trouble", func() bool { return count() > before })

	mu.Lock()
	services = []Service{{ID: "m-mx1", Name: "m", Port: 25, Check: "http://127.0.0.1:1/healthz/mail"}}
	mu.Unlock()
	r.Refresh()
	await(t, "another service in place of the first", func() bool { return cmp.Equal(agent.ids(), []string{"m-mx1"}) })
	stop()
	must(t, r.Deregister(context.Background()))
	if len(agent.ids()) != 0 {
		t.Errorf("left: %v", agent.ids())
	}
	must(t, r.Deregister(context.Background())) // nothing is left to do
}

func TestDeregisterOfWhatIsGone(t *testing.T) {
	agent := &fakeAgent{}
	r := NewRegistrar(RegistrarOptions{Client: newTestClient(t, agent), Services: func() []Service { return []Service{{ID: "a", Name: "a"}} }})
	must(t, r.reconcile(t.Context()))
	agent.change(func() { agent.services = nil })
	must(t, r.Deregister(t.Context()))

	must(t, r.reconcile(t.Context()))
	agent.change(func() { agent.broken = true })
	if err := r.Deregister(t.Context()); err == nil || !strings.Contains(err.Error(), "deregister a") {
		t.Errorf("got %v", err)
	}
}

func TestDeregisterWhileConsulIsAway(t *testing.T) {
	server := httptest.NewServer(&fakeAgent{})
	client := newTestClient(t, nil, func(o *Options) { o.Address = server.URL })
	r := NewRegistrar(RegistrarOptions{Client: client, Services: func() []Service { return []Service{{ID: "a", Name: "a"}} }})
	must(t, r.reconcile(t.Context()))
	server.Close()
	must(t, r.Deregister(t.Context()))
}

func TestRegistrationWithoutForgetting(t *testing.T) {
	r := NewRegistrar(RegistrarOptions{Client: newTestClient(t, &fakeAgent{})})
	if after := r.registration(&Service{ID: "a"}, check{}).Check.DeregisterCriticalServiceAfter; after != "" {
		t.Errorf("forgotten after %s", after)
	}
}
