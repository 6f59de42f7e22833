package consul

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/pki"
)

// An agent that wants a client certificate. A renewed one is shown at the next connection.
func TestAgentWithTLS(t *testing.T) {
	path := t.TempDir()
	ca, err := pki.Init(path, "consul", time.Now(), time.Hour)
	must(t, err)
	issue := func(name string) pki.Paths {
		paths, err := ca.Issue(pki.Request{Identity: pki.Identity{Role: pki.Node, Name: name}, Addresses: []string{"agent.example.com"},
			Valid: time.Hour}, time.Now(), "")
		must(t, err)
		return paths
	}
	agentFiles, mine := issue("agent"), issue("mine")
	pair, err := tls.LoadX509KeyPair(agentFiles.Cert, agentFiles.Key)
	must(t, err)
	roots := x509.NewCertPool()
	text, err := os.ReadFile(agentFiles.CA)
	must(t, err)
	roots.AppendCertsFromPEM(text)

	var shown string
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.TLS.PeerCertificates[0].SerialNumber.Text(16)
		reply(w, 1, "127.0.0.1:8300")
	}))
	agent.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	agent.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	agent.StartTLS()
	t.Cleanup(agent.Close)
	address := agent.Listener.Addr().String()
	good := Options{Address: address, CAFile: mine.CA, CertFile: mine.Cert, KeyFile: mine.Key, ServerName: "agent.example.com"}

	leader := func(o Options) error {
		clearEnvironment(t)
		o.Log = zap.NewNop()
		client, err := NewClient(o)
		must(t, err)
		defer client.Close()
		_, err = client.api.Status().Leader()
		return err
	}
	for _, tc := range []struct {
		name   string
		change func(o *Options)
		want   string
	}{
		{"as it should be", func(*Options) {}, ""},
		{"no client certificate", func(o *Options) { o.CertFile, o.KeyFile = "", "" }, "certificate required"},
		{"another name", func(o *Options) { o.ServerName = "other.example.com" }, "certificate is valid for agent.example.com, not other"},
		{"no CA", func(o *Options) { o.CAFile = "" }, "unknown authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := good
			tc.change(&o)
			err := leader(o)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	t.Run("renewed", func(t *testing.T) {
		clearEnvironment(t)
		o := good
		o.Log = zap.NewNop()
		client, err := NewClient(o)
		must(t, err)
		defer client.Close()
		_, err = client.api.Status().Leader()
		must(t, err)
		before := shown
		_, err = ca.Renew(pki.Identity{Role: pki.Node, Name: "mine"}, time.Hour, time.Now(), "")
		must(t, err)
		client.Close() // the next question makes a new connection
		_, err = client.api.Status().Leader()
		must(t, err)
		if shown == before {
			t.Error("the old certificate is shown")
		}
	})
}
