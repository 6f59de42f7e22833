package consul

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options say how to reach the agent. What is empty comes from the CONSUL_* environment, as it does for Consul's own
// command line, and then from Consul's defaults.
type Options struct {
	Address    string // host:port, http://host:port, https://host:port or unix:///path
	Datacenter string
	Token      string        // ACL token
	TokenFile  string        // read again when it changes; before Token
	CAFile     string        // this or CertFile: https
	CertFile   string        // client certificate, with KeyFile; read at every connection
	KeyFile    string        //
	ServerName string        // in the agent's certificate
	Wait       time.Duration // how long a blocking query waits for a change; 0: 5 min
	RetryMax   time.Duration // longest pause between attempts while Consul is away; 0: 15 s
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Client reaches the agent.
type Client struct {
	api       *api.Client
	transport *http.Transport
	wait      time.Duration
	retryMax  time.Duration
	log       *zap.Logger
	metrics   *metrics
}

// NewClient makes a client; it asks the agent nothing. An error is one of the settings.
func NewClient(o Options) (*Client, error) {
	settings := api.DefaultConfig()
	if o.CAFile != "" || o.CertFile != "" {
		settings.Scheme = "https"
	}
	settings.Datacenter = o.Datacenter
	settings.Address = cmp.Or(o.Address, settings.Address)
	t := &settings.TLSConfig
	t.CAFile, t.Address = cmp.Or(o.CAFile, t.CAFile), cmp.Or(o.ServerName, t.Address)
	if o.CertFile != "" {
		t.CertFile, t.KeyFile = o.CertFile, o.KeyFile
	}
	security, err := api.SetupTLSConfig(t)
	if err != nil {
		return nil, fmt.Errorf("consul TLS settings: %w", err)
	}
	if t.CertFile != "" {
		certFile, keyFile := t.CertFile, t.KeyFile
		security.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(certFile, keyFile)
			return &cert, err
		}
	}
	settings.Transport.TLSClientConfig = security
	if path, found := strings.CutPrefix(settings.Address, "unix://"); found {
		// Left to the library, it would replace the client that adds the token below.
		settings.Address = "localhost"
		settings.Transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	token, err := tokenSource(o, settings)
	if err != nil {
		return nil, fmt.Errorf("consul token: %w", err)
	}
	settings.HttpClient = &http.Client{Transport: &tokenTransport{next: settings.Transport, token: token}}
	client, err := api.NewClient(settings)
	if err != nil {
		return nil, fmt.Errorf("consul client: %w", err)
	}
	return &Client{api: client, transport: settings.Transport, wait: cmp.Or(o.Wait, 5*time.Minute),
		retryMax: cmp.Or(o.RetryMax, 15*time.Second), log: o.Log, metrics: newMetrics(o.Registerer)}, nil
}

// Close drops the connections to the agent that are kept for later.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// tokenSource gives the token to use: that of the settings, then that of the environment, and of either the file before
// the token itself, as Consul has it.
func tokenSource(o Options, environment *api.Config) (func() (string, error), error) {
	file, token := o.TokenFile, o.Token
	if file == "" && token == "" {
		file, token = environment.TokenFile, environment.Token
	}
	if file == "" {
		return func() (string, error) { return token, nil }, nil
	}
	_, err := readToken(file)
	return func() (string, error) { return readToken(file) }, err
}

// tokenTransport adds the token of the moment, so that one in a file can be replaced without a restart.
type tokenTransport struct {
	next  http.RoundTripper
	token func() (string, error)
}

func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := t.token()
	if err != nil {
		return nil, fmt.Errorf("consul token: %w", err)
	}
	r = r.Clone(r.Context()) // a RoundTripper must not change the request it was given
	r.Header.Del("X-Consul-Token")
	if token != "" {
		r.Header.Set("X-Consul-Token", token)
	}
	return t.next.RoundTrip(r)
}

func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return token, nil
}
