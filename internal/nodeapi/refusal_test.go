package nodeapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
)

var (
	mx1 = pki.Identity{Role: pki.Node, Name: "mx1"}
	mx2 = pki.Identity{Role: pki.Node, Name: "mx2"}
	web = pki.Identity{Role: pki.Aggregator, Name: "web"}
)

// authority is a CA in a directory of the test.
type authority struct {
	*pki.Directory
	path string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	path := t.TempDir()
	dir, err := pki.Init(path, "test", time.Now().Add(-72*time.Hour), 1000*time.Hour)
	must(t, err)
	return authority{dir, path}
}

// issue gives the TLS options of a holder whose certificate began so long ago and is valid for an hour.
func (a authority) issue(t *testing.T, id pki.Identity, ago time.Duration) pki.Options {
	t.Helper()
	out := t.TempDir()
	paths, err := a.Issue(pki.Request{Identity: id, Valid: time.Hour}, time.Now().Add(-ago), out)
	must(t, err)
	return fromFiles(t, paths)
}

func fromFiles(t *testing.T, paths pki.Paths) pki.Options {
	t.Helper()
	files, err := pki.NewFiles(pki.FileOptions{Cert: paths.Cert, Key: paths.Key, CA: paths.CA, Log: zap.NewNop()})
	must(t, err)
	return pki.Options{Source: files, Scheme: pki.FleetScheme}
}

// start runs a node's server and tells its address, how often it was asked something, and its metrics.
func start(t *testing.T, node pki.Options) (server *nodeapi.Server, asked *atomic.Int32, registry *prometheus.Registry) {
	t.Helper()
	asked, registry = new(atomic.Int32), prometheus.NewRegistry()
	handler := nodeapi.NewHandler(nodeapi.Options{Node: "mx1", Log: zap.NewNop(), Registerer: registry, Store: silent{},
		Info: func(context.Context) *fleet.NodeInfo {
			asked.Add(1)
			return &fleet.NodeInfo{Name: "mx1"}
		}})
	server, err := nodeapi.Listen(nodeapi.ServerOptions{Address: "127.0.0.1:0", Handler: handler, Log: zap.NewNop(),
		TLS: pki.ServerConfig(node, pki.Aggregator)})
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	return server, asked, registry
}

func newClient(t *testing.T, server *nodeapi.Server, config *tls.Config) *nodeapi.Client {
	t.Helper()
	client, err := nodeapi.NewClient(nodeapi.ClientOptions{Node: "mx1", Base: "https://" + server.Addr().String(), TLS: config})
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestOnlyTheAggregatorGetsIn(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	aggregator := ours.issue(t, web, 0)
	server, asked, registry := start(t, ours.issue(t, mx1, 0))

	if _, err := newClient(t, server, pki.ClientConfig(aggregator, mx1)).Info(t.Context()); err != nil {
		t.Fatalf("the aggregator itself: %v", err)
	}
	asked.Store(0)

	// stranger shows a certificate, or none, and takes whatever the server shows.
	stranger := func(o pki.Options, newest uint16) *tls.Config {
		config := &tls.Config{InsecureSkipVerify: true, MaxVersion: newest}
		if o.Source != nil {
			cert, _, err := o.Source.Credentials()
			must(t, err)
			// Without regard to the roots that the server asks for, which is what a client that means no good does.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		return config
	}
	const refused = "node mx1 refused our certificate"
	for _, tc := range []struct {
		name   string
		caller *tls.Config
		want   string
	}{
		{"no certificate", stranger(pki.Options{}, 0), refused + " (certificate required)"},
		{"aggregator of another CA", stranger(other.issue(t, web, 0), 0), refused},
		{"node instead of the aggregator", stranger(ours.issue(t, mx2, 0), 0), refused},
		{"expired", stranger(ours.issue(t, pki.Identity{Role: pki.Aggregator, Name: "old"}, 2*time.Hour), 0), refused},
		{"TLS 1.2", stranger(aggregator, tls.VersionTLS12), refused + " (protocol version not supported)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := failures(t, registry)
			_, err := newClient(t, server, tc.caller).Info(t.Context())
			// The alert can be lost when the server closes the connection on the request that came behind the handshake.
			if err == nil || !strings.Contains(err.Error(), tc.want) && err.Error() != "node mx1 closed the connection" {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			// The caller may hear of it before it is counted.
			counted := func() bool { return failures(t, registry) == before+1 }
			for patience := time.After(5 * time.Second); !counted(); {
				select {
				case <-patience:
					t.Fatalf("%v refused handshakes counted, want one more than %v", failures(t, registry), before)
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+server.Addr().String()+"/v1/node", nil)
		must(t, err)
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(request)
		must(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusBadRequest || strings.Contains(string(body), "{") {
			t.Errorf("got %d %q, %v", response.StatusCode, body, err)
		}
	})
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests got through", n)
	}
}

func failures(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() == "postfleet_nodeapi_refused_handshakes_total" {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}

func TestOnlyTheNodeIsAsked(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	aggregator := ours.issue(t, web, 0)
	for _, tc := range []struct {
		name string
		node pki.Options
		want string
	}{
		{"another node", ours.issue(t, mx2, 0), "asked for node mx1 and reached node mx2"},
		{"of another CA", other.issue(t, mx1, 0), "the certificate of node mx1 is not from the fleet's CA"},
		{"expired", ours.issue(t, mx1, 2*time.Hour), "the certificate of node mx1 is valid from"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, asked, _ := start(t, tc.node)
			_, err := newClient(t, server, pki.ClientConfig(aggregator, mx1)).Info(t.Context())
			var shown *fleet.Error
			if !errors.As(err, &shown) || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if asked.Load() != 0 {
				t.Error("it was asked")
			}
		})
	}
}

func TestRenewalReachesTheNextConnection(t *testing.T) {
	ours := newAuthority(t)
	paths, err := ours.Issue(pki.Request{Identity: mx1, Valid: time.Hour}, time.Now(), "")
	must(t, err)
	server, _, _ := start(t, fromFiles(t, paths))
	config := pki.ClientConfig(ours.issue(t, web, 0), mx1)
	serial := func(conn *tls.Conn) string { return conn.ConnectionState().PeerCertificates[0].SerialNumber.String() }

	old := dial(t, server, config)
	_, err = ours.Renew(mx1, time.Hour, time.Now(), "")
	must(t, err)
	if renewed := dial(t, server, config); serial(renewed) == serial(old) {
		t.Error("a new connection is shown the old certificate")
	}
	if _, err := io.WriteString(old, "GET /v1/node HTTP/1.1\r\nHost: mx1\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(old); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK") {
		t.Errorf("the old connection answers %q, %v", answer, err)
	}

	// A CA that is no longer trusted ends what its certificates could do, without a restart.
	stranger := newAuthority(t)
	must(t, copyFile(filepath.Join(stranger.path, "ca.pem"), paths.CA))
	if _, err := newClient(t, server, config).Info(t.Context()); err == nil {
		t.Error("a root that was taken away still lets in")
	}
}

func dial(t *testing.T, server *nodeapi.Server, config *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", server.Addr().String(), config)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestShutdownEndsStreams(t *testing.T) {
	ours := newAuthority(t)
	handler := nodeapi.NewHandler(nodeapi.Options{Node: "mx1", Log: zap.NewNop(), Store: silent{}})
	server, err := nodeapi.Listen(nodeapi.ServerOptions{Address: "127.0.0.1:0", Handler: handler, Log: zap.NewNop(),
		TLS: pki.ServerConfig(ours.issue(t, mx1, 0), pki.Aggregator)})
	must(t, err)
	served, ended := make(chan error, 1), make(chan error, 1)
	go func() { served <- server.Serve() }()
	client := newClient(t, server, pki.ClientConfig(ours.issue(t, web, 0), mx1))
	subscribed := make(chan struct{})
	began = func() { close(subscribed) }
	t.Cleanup(func() { began = func() {} })
	go func() { ended <- client.Events(context.Background(), func() {}, func(fleet.Change) {}) }()
	<-subscribed

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || err.Error() != "node mx1 closed the connection" {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	ours := newAuthority(t)
	server, _, _ := start(t, ours.issue(t, mx1, 0))
	_, err := nodeapi.Listen(nodeapi.ServerOptions{Address: server.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), server.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestMetricNames(t *testing.T) {
	registry := prometheus.NewRegistry()
	nodeapi.NewHandler(nodeapi.Options{Registerer: registry})
	problems, err := testutil.GatherAndLint(registry)
	must(t, err)
	for _, problem := range problems {
		t.Error(problem)
	}
}
