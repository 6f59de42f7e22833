package acceptance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// Nobody without the right certificate, token, role or origin gets anything.
func TestStrangersGetNothing(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 2*time.Minute)
	l, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 1})
	t.Run("node API", func(t *testing.T) { refusedByNode(t, ctx, l, f.Nodes[0]) })
	t.Run("JSON API and pages", func(t *testing.T) { refusedByAggregator(t, ctx, f) })
}

func refusedByNode(t *testing.T, ctx context.Context, l *lab.Lab, node *lab.Node) {
	stranger, err := lab.NewCertificate("stranger.example")
	must(t, err)
	issue := func(role, name string) (tls.Certificate, string) {
		id, err := l.Issue(ctx, binary, role, name)
		must(t, err)
		pair, err := tls.LoadX509KeyPair(id.Cert, id.Key)
		must(t, err)
		return pair, id.CA
	}
	otherNode, ca := issue("node", "n9")
	otherAggregator, _ := issue("aggregator", "second")
	pem, err := os.ReadFile(ca)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, c := range []struct {
		name  string
		certs []tls.Certificate
		in    bool
	}{
		{"no certificate", nil, false},
		{"self-signed", []tls.Certificate{stranger.Pair}, false},
		{"another node's", []tls.Certificate{otherNode}, false},
		{"an aggregator's", []tls.Certificate{otherAggregator}, true}, // so that the others are refused for their own sake
	} {
		t.Run(c.name, func(t *testing.T) {
			transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
				Certificates: c.certs, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}
			for _, path := range []string{"/v1/node", "/v1/messages", "/v1/stats", "/v1/events"} {
				status, err := fetch(ctx, &http.Client{Transport: transport}, http.MethodGet, "https://"+node.API+path, nil)
				if in := err == nil && status == http.StatusOK; in != c.in {
					t.Errorf("GET %s: %d, %v; let in: want %t", path, status, err, c.in)
				}
			}
		})
	}
}

func refusedByAggregator(t *testing.T, ctx context.Context, f *lab.Fleet) {
	viewer, err := f.Access.NewToken(ctx, binary, "viewer", "viewer")
	must(t, err)
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	crossSite := http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"},
		"Content-Type": {"application/x-www-form-urlencoded"}}
	noRedirect := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, c := range []struct {
		name, method, path string
		header             http.Header
		want               int
	}{
		{"no token", http.MethodGet, "/api/v1/messages", nil, 401},
		{"wrong token", http.MethodGet, "/api/v1/messages", bearer(viewer + "x"), 401},
		{"token of a viewer", http.MethodGet, "/api/v1/messages", bearer(viewer), 200},
		{"role too low", http.MethodGet, "/api/v1/audit", bearer(viewer), 403},
		{"events without token", http.MethodGet, "/api/v1/events", nil, 401},
		{"export without session", http.MethodGet, "/messages.csv", nil, 401},
		{"page without session", http.MethodGet, "/messages", nil, 303},
		{"sign-in from elsewhere", http.MethodPost, "/sign-in", crossSite, 403},
		{"bad query", http.MethodGet, "/api/v1/messages?view=nope", bearer(viewer), 400},
		{"bad cursor", http.MethodGet, "/api/v1/messages?cursor=nope", bearer(viewer), 400},
		{"bad id", http.MethodGet, "/api/v1/messages/n1/nope", bearer(viewer), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, err := fetch(ctx, noRedirect, c.method, f.Aggregator.URL+c.path, c.header)
			if err != nil || status != c.want {
				t.Errorf("%s %s: %d, %v, want %d", c.method, c.path, status, err, c.want)
			}
		})
	}
}

// fetch gives the status of an answer.
func fetch(ctx context.Context, client *http.Client, method, url string, header http.Header) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var body *strings.Reader
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if method == http.MethodPost {
		body = strings.NewReader("user=admin&password=x")
		req, err = http.NewRequestWithContext(ctx, method, url, body)
	}
	if err != nil {
		return 0, err
	}
	if header != nil {
		req.Header = header
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
