package nodeapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/fleet"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fakeStore answers what it was given, and remembers what it was asked.
type fakeStore struct {
	page        fleet.Page
	message     fleet.Message
	transcripts []fleet.Transcript
	stats       fleet.Stats
	err         error
	block       bool // until the context ends

	mu         sync.Mutex
	query      fleet.Query
	statsQuery fleet.StatsQuery
	id         fleet.MessageID
	changes    chan fleet.Change // nil: a stream that says nothing
}

func (s *fakeStore) answer(ctx context.Context) error {
	if s.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.err
}

func (s *fakeStore) Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.query = q
	return &s.page, s.answer(ctx)
}

func (s *fakeStore) Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
	return &s.message, s.answer(ctx)
}

func (s *fakeStore) Transcripts(ctx context.Context, id fleet.MessageID) ([]fleet.Transcript, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
	return s.transcripts, s.answer(ctx)
}

func (s *fakeStore) Stats(ctx context.Context, q fleet.StatsQuery) (*fleet.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statsQuery = q
	return &s.stats, s.answer(ctx)
}

func (s *fakeStore) Subscribe(context.Context) <-chan fleet.Change { return s.changes }

var testInfo = fleet.NodeInfo{Name: "mx1", Version: "1.2.3", Now: noon,
	Checks: []fleet.Check{{Name: "postfix", OK: true, Text: "220 mx1"}}}

// newTestHandler fills in what the test leaves open.
func newTestHandler(t *testing.T, o Options) *Handler {
	t.Helper()
	o.Node = "mx1"
	o.Now = func() time.Time { return noon }
	if o.Log == nil {
		o.Log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	if o.Info == nil {
		o.Info = func(context.Context) *fleet.NodeInfo { return &testInfo }
	}
	return NewHandler(o)
}

// serve runs a handler behind TLS without client certificates; who may call is tested in refusal_test.go.
func serve(t *testing.T, handler http.Handler, options ...func(*ClientOptions)) (*httptest.Server, *Client) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	if h, ok := handler.(*Handler); ok {
		t.Cleanup(h.EndStreams)
	}
	o := ClientOptions{Node: "mx1", Base: server.URL, TLS: trusting(server)}
	for _, set := range options {
		set(&o)
	}
	client, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}

// trusting are TLS settings for a test server.
func trusting(server *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS13}
}

// pageOf is a page of n messages.
func pageOf(n int) fleet.Page {
	page := fleet.Page{Messages: make([]fleet.Message, n)}
	for i := range page.Messages {
		page.Messages[i].ID = fleet.MessageID(n - i)
	}
	return page
}

// deadline is for tests that expect an answer.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
