package consul

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/test/lab"
)

var (
	scheme = pki.ConnectScheme(nodeService, aggregatorService)
	mx1    = pki.Identity{Role: pki.Node, Name: "mx1"}
)

// newLeaf follows the certificate of a service until the test ends.
func newLeaf(t *testing.T, client *consul.Client, service string) *consul.Leaf {
	t.Helper()
	leaf := consul.NewLeaf(consul.LeafOptions{Client: client, Service: service})
	run(t, leaf.Run)
	ready(t, leaf)
	return leaf
}

// serveNode runs the node API of mx1 with a certificate from Consul.
func serveNode(t *testing.T, source pki.Source) (address string) {
	t.Helper()
	handler := nodeapi.NewHandler(nodeapi.Options{Node: "mx1", Log: zap.NewNop(), Store: quiet{}, Heartbeat: 100 * time.Millisecond,
		Info: func(context.Context) *fleet.NodeInfo { return &fleet.NodeInfo{Name: "mx1"} }})
	server, err := nodeapi.Listen(nodeapi.ServerOptions{Address: "127.0.0.1:0", Handler: handler, Log: zap.NewNop(),
		TLS: pki.ServerConfig(pki.Options{Source: source, Scheme: scheme}, pki.Aggregator)})
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return server.Addr().String()
}

// call asks the node for its facts on a new connection.
func call(t *testing.T, address string, source pki.Source, expect pki.Identity) error {
	t.Helper()
	client := newNodeClient(t, address, source, expect)
	_, err := client.Info(lab.Within(t, 10*time.Second))
	return errors.Join(err, client.Close())
}

func newNodeClient(t *testing.T, address string, source pki.Source, expect pki.Identity) *nodeapi.Client {
	t.Helper()
	client, err := nodeapi.NewClient(nodeapi.ClientOptions{Node: "mx1", Base: "https://" + address, Silence: 5 * time.Second,
		TLS: pki.ClientConfig(pki.Options{Source: source, Scheme: scheme}, expect)})
	must(t, err)
	return client
}

// quiet is a store whose event stream says nothing.
type quiet struct{ nodeapi.Store }

func (quiet) Subscribe(context.Context) <-chan fleet.Change { return nil }

func TestConnectCertificates(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	client := newClient(t, agent)
	node := newLeaf(t, client, pki.ConnectService(nodeService, "mx1"))
	aggregator := newLeaf(t, client, aggregatorService)
	address := serveNode(t, node)
	must(t, call(t, address, aggregator, mx1))

	for _, tc := range []struct {
		name    string
		service string
		expect  pki.Identity
		want    string
	}{
		{"a node calls", pki.ConnectService(nodeService, "mx2"), mx1, "node mx1 refused our certificate"},
		{"another service calls", "web", mx1, "node mx1 refused our certificate"},
		{"the service of the node API calls", nodeService, mx1, "node mx1 refused our certificate"},
		{"another node answers", aggregatorService, pki.Identity{Role: pki.Node, Name: "mx2"}, "asked for node mx2 and reached node mx1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := call(t, address, newLeaf(t, client, tc.service), tc.expect)
			if err == nil || !strings.Contains(err.Error(), tc.want) && err.Error() != "node mx1 closed the connection" {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}

	t.Run("the CA gets a new root", func(t *testing.T) {
		before := []string{serial(t, node), serial(t, aggregator)}
		listening, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		stream := newNodeClient(t, address, aggregator, mx1)
		go func() { ended <- stream.Events(listening, func() {}, func(fleet.Change) {}) }()
		rotate(t, asking(t, agent, ""))
		calls := 0
		eventually(t, 60*time.Second, func() error {
			if err := call(t, address, aggregator, mx1); err != nil {
				t.Errorf("call %d during the rotation: %v", calls, err)
			}
			calls++
			if serial(t, node) == before[0] || serial(t, aggregator) == before[1] {
				return errors.New("certificates are not renewed")
			}
			return nil
		})
		must(t, call(t, address, aggregator, mx1))
		t.Logf("%d calls during the rotation", calls)
		select {
		case err := <-ended:
			t.Errorf("the connection from before the rotation ended: %v", err)
		default:
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

func serial(t *testing.T, leaf *consul.Leaf) string {
	t.Helper()
	cert, _, err := leaf.Credentials()
	must(t, err)
	return cert.Leaf.SerialNumber.Text(16)
}

// rotate gives Consul's CA a new key and root.
func rotate(t *testing.T, client *api.Client) {
	t.Helper()
	_, pair, err := pki.NewAuthority("new root", time.Now(), 24*time.Hour)
	must(t, err)
	_, err = client.Connect().CASetConfig(&api.CAConfig{Provider: "consul", Config: map[string]any{"PrivateKey": string(pair.Key), "RootCert": string(pair.Cert)}}, nil)
	must(t, err)
}

// A node that starts while Consul is away serves with the certificate that it had.
func TestCertificateSurvivesConsul(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	client := newClient(t, agent)
	options := consul.LeafOptions{Client: client, Service: pki.ConnectService(nodeService, "mx1"), StateFile: filepath.Join(t.TempDir(), "leaf.json")}
	leaf := consul.NewLeaf(options)
	stop := run(t, leaf.Run)
	ready(t, leaf)
	aggregator := newLeaf(t, client, aggregatorService)
	stop()
	must(t, agent.Kill())

	info, err := os.Stat(options.StateFile)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the private key is in a file with mode %v", info.Mode())
	}
	again := consul.NewLeaf(options)
	run(t, again.Run)
	must(t, call(t, serveNode(t, again), aggregator, mx1))

	other := options
	other.Service = pki.ConnectService(nodeService, "mx2")
	if _, _, err := consul.NewLeaf(other).Credentials(); err == nil {
		t.Error("the certificate of another service was taken from the file")
	}
}

// The agent's API on a unix socket, which docs/consul.md advises.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	socket := l.Path("consul.sock")
	startAgent(t, l, lab.ConsulOptions{Name: "n1", Config: map[string]any{"addresses": map[string]any{"http": "unix://" + socket + " 127.0.0.1"}}})
	client, err := consul.NewClient(consul.Options{Address: "unix://" + socket, Log: zap.NewNop()})
	must(t, err)
	t.Cleanup(client.Close)
	newLeaf(t, client, aggregatorService)
}
