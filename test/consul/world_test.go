package consul

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/test/lab"
)

// binary is postfleet, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(lab.Main(m, &binary)) }

const (
	nodeService       = "postfleet-node"
	aggregatorService = "postfleet-aggregator"
	mailService       = "smtp-out"
)

// startAgent runs a Consul agent, a server unless it joins one.
func startAgent(t *testing.T, l *lab.Lab, o lab.ConsulOptions) *lab.Consul {
	t.Helper()
	if _, err := lab.ConsulBinary(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	config := map[string]any{"gossip_lan": map[string]any{"probe_interval": "200ms", "probe_timeout": "100ms", "suspicion_mult": 2}}
	for key, value := range o.Config {
		config[key] = value
	}
	o.Config = config
	agent, err := l.StartConsul(lab.Within(t, time.Minute), o)
	if err != nil {
		t.Fatal(err)
	}
	return agent
}

// asking is a client for the test's own questions.
func asking(t *testing.T, agent *lab.Consul, token string) *api.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	client, err := api.NewClient(&api.Config{Address: agent.HTTP, Token: token, HttpClient: &http.Client{Transport: transport}})
	must(t, err)
	return client
}

// newClient is what the daemons have, with short pauses.
func newClient(t *testing.T, agent *lab.Consul, change ...func(*consul.Options)) *consul.Client {
	t.Helper()
	o := consul.Options{Address: agent.HTTP, Wait: 2 * time.Second, RetryMax: 500 * time.Millisecond,
		Log: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))}
	for _, one := range change {
		one(&o)
	}
	client, err := consul.NewClient(o)
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

// run runs something until the test ends or the function that it gives is called.
func run(t *testing.T, do func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// health is the listener that Consul's checks ask; it answers well until it is told otherwise.
type health struct {
	*httptest.Server
	api, mail atomic.Bool
}

func newHealth(t *testing.T) *health {
	t.Helper()
	h := new(health)
	h.api.Store(true)
	h.mail.Store(true)
	routes := http.NewServeMux()
	for path, fit := range map[string]*atomic.Bool{"/healthz": &h.api, "/healthz/mail": &h.mail} {
		routes.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if !fit.Load() {
				http.Error(w, "drain FAILED: drains since noon", http.StatusServiceUnavailable)
			}
		})
	}
	h.Server = httptest.NewServer(routes)
	t.Cleanup(h.Close)
	return h
}

// services are those of a node.
func (h *health) services(node, address string) []consul.Service {
	return []consul.Service{
		{ID: nodeService + "-" + node, Name: nodeService, Address: address, Port: 8525, Check: h.URL + "/healthz",
			Meta: map[string]string{consul.MetaNode: node, consul.MetaVersion: "1.0.0", consul.MetaRole: "node",
				consul.MetaMail: address + ":25", consul.MetaSelectors: "example.com/" + node}},
		{ID: mailService + "-" + node, Name: mailService, Address: address, Port: 25, Check: h.URL + "/healthz/mail",
			Meta: map[string]string{consul.MetaNode: node}},
	}
}

func newRegistrar(client *consul.Client, services ...consul.Service) *consul.Registrar {
	return consul.NewRegistrar(consul.RegistrarOptions{Client: client, Every: 500 * time.Millisecond, CheckEvery: time.Second,
		DeregisterAfter: 72 * time.Hour, Services: func() []consul.Service { return services }})
}

// eventually polls until check answers nil.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	lab.Await(t, lab.Within(t, limit), func(context.Context) error { return check() })
}

// fit is a check for eventually: so many instances of a service pass all their checks.
func fit(client *api.Client, service string, want int) func() error {
	return func() error {
		entries, _, err := client.Health().Service(service, "", true, nil)
		if err == nil && len(entries) != want {
			err = errors.New(service + ": another number of fit instances than expected")
		}
		return err
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
