package nodeapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

func TestRoundTrip(t *testing.T) {
	message := fleet.Message{Node: "mx1", ID: 42, QueueID: "4bXYz", FirstSeen: noon, LastChange: noon, Sender: "a@example.com",
		Subject: "Grüße <b>\u202e", Recipients: []fleet.Recipient{{Address: "b@example.net", Status: fleet.StatusDelivered}}}
	store := &fakeStore{
		page:    fleet.Page{Messages: []fleet.Message{message}, Next: 41},
		message: message,
		transcripts: []fleet.Transcript{{Key: fleet.InboundKey, Direction: fleet.Inbound, Provenance: fleet.Reconstructed,
			Started: noon, Ended: noon, Lines: []fleet.Line{{Time: noon, From: fleet.ClientSays, Text: "EHLO a\xff"}}}},
		stats: fleet.Stats{Since: noon, Until: noon.Add(time.Hour), Steps: []fleet.Step{{Start: noon, Messages: 3}}, Encrypted: 2},
	}
	_, client := serve(t, newTestHandler(t, Options{Store: store}))
	ctx := deadline(t)

	info, err := client.Info(ctx)
	check(t, "info", err, &testInfo, info)

	query := fleet.Query{View: fleet.ViewBounced, Since: noon.Add(-time.Hour), Until: noon, Sender: "@example.com", Subject: "100 % & more",
		Before: 43, Limit: 7}
	page, err := client.Messages(ctx, query)
	check(t, "messages", err, &store.page, page)
	check(t, "query", nil, query, store.query)

	got, err := client.Message(ctx, 42)
	check(t, "message", err, &message, got)
	check(t, "id", nil, fleet.MessageID(42), store.id)

	transcripts, err := client.Transcripts(ctx, 42)
	want := store.transcripts
	want[0].Lines[0].Text = "EHLO a\ufffd" // JSON is UTF-8
	check(t, "transcripts", err, want, transcripts)

	statsQuery := fleet.StatsQuery{Since: noon, Until: noon.Add(time.Hour), Steps: 12}
	stats, err := client.Stats(ctx, statsQuery)
	check(t, "stats", err, &store.stats, stats)
	check(t, "stats query", nil, statsQuery, store.statsQuery)
}

func check(t *testing.T, what string, err error, want, got any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

func TestRefusedRequests(t *testing.T) {
	for _, tc := range []struct {
		name   string
		method string
		target string
		store  *fakeStore
		status int
		want   fleet.Error
	}{
		{"bad view", "GET", "/v1/messages?view=spam", &fakeStore{}, 400, fleet.Error{Code: fleet.CodeInvalid, Field: "view"}},
		{"bad cursor", "GET", "/v1/messages?before=x", &fakeStore{}, 400, fleet.Error{Code: fleet.CodeInvalid, Field: "before"}},
		{"bad limit", "GET", "/v1/messages?limit=1001", &fakeStore{}, 400, fleet.Error{Code: fleet.CodeInvalid, Field: "limit"}},
		{"bad id", "GET", "/v1/messages/abc", &fakeStore{}, 400, fleet.Error{Code: fleet.CodeInvalid, Field: "id"}},
		{"bad id of transcripts", "GET", "/v1/messages/-1/transcripts", &fakeStore{}, 400, fleet.Error{Code: fleet.CodeInvalid, Field: "id"}},
		{"bad steps", "GET", "/v1/stats?steps=0", &fakeStore{}, 400, fleet.Error{Code: fleet.CodeInvalid, Field: "steps"}},
		{"no such message", "GET", "/v1/messages/7", &fakeStore{err: fleet.Errorf(fleet.CodeNotFound, "no message 7")}, 404,
			fleet.Error{Code: fleet.CodeNotFound}},
		{"paused", "GET", "/v1/messages", &fakeStore{err: fleet.Errorf(fleet.CodeUnavailable, "disk full")}, 503,
			fleet.Error{Code: fleet.CodeUnavailable}},
		{"inside stays inside", "GET", "/v1/messages", &fakeStore{err: errors.New("open /secret: denied")}, 500,
			fleet.Error{Code: fleet.CodeInternal}},
		{"too slow", "GET", "/v1/messages", &fakeStore{block: true}, 503, fleet.Error{Code: fleet.CodeUnavailable}},
		{"later route", "GET", "/v1/queue", &fakeStore{}, 501, fleet.Error{Code: fleet.CodeUnsupported}},
		{"later version", "GET", "/v2/node", &fakeStore{}, 501, fleet.Error{Code: fleet.CodeUnsupported}},
		{"other method", "POST", "/v1/messages", &fakeStore{}, 501, fleet.Error{Code: fleet.CodeUnsupported}},
		{"root", "GET", "/", &fakeStore{}, 501, fleet.Error{Code: fleet.CodeUnsupported}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			handler := newTestHandler(t, Options{Store: tc.store, Timeout: 50 * time.Millisecond, Log: zap.NewNop()})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(tc.method, tc.target, nil))
			body := w.Body.String()
			got := *httperr.Read(w.Code, w.Body)
			if w.Code != tc.status || got.Code != tc.want.Code || got.Field != tc.want.Field || got.Message == "" {
				t.Errorf("got %d %s", w.Code, body)
			}
			if strings.Contains(body, "secret") {
				t.Errorf("the inside is shown: %s", body)
			}
			if kind := w.Header().Get("Content-Type"); kind != "application/json; charset=utf-8" {
				t.Errorf("Content-Type %q", kind)
			}
		})
	}
}

func TestUnknownParametersAreIgnored(t *testing.T) {
	store := &fakeStore{}
	w := httptest.NewRecorder()
	newTestHandler(t, Options{Store: store}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/messages?sender=ann%40a.de&colour=blue", nil))
	if w.Code != 200 || store.query.Sender != "ann@a.de" {
		t.Errorf("got %d %s, asked %+v", w.Code, w.Body, store.query)
	}
}

func TestHealth(t *testing.T) {
	for _, tc := range []struct {
		name   string
		checks []fleet.Check
		status int
	}{
		{"fit", []fleet.Check{{Name: "a", OK: true}, {Name: "b", OK: true}}, 200},
		{"unfit", []fleet.Check{{Name: "a", OK: true}, {Name: "b", Text: "down"}}, 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			handler := newTestHandler(t, Options{Info: func(context.Context) *fleet.NodeInfo { return &fleet.NodeInfo{Checks: tc.checks} }})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/health", nil))
			var got Health
			if err := json.NewDecoder(w.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if w.Code != tc.status {
				t.Errorf("status %d", w.Code)
			}
			if diff := cmp.Diff(Health{Healthy: tc.status == 200, Checks: tc.checks}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	handler := newTestHandler(t, Options{Log: zap.New(core), Info: func(context.Context) *fleet.NodeInfo { panic("secret") }})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/node", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if logs.Len() != 1 || !strings.Contains(logs.All()[0].ContextMap()["error"].(string), "handler_test.go") {
		t.Errorf("logged %+v", logs.All())
	}
}

func TestCompression(t *testing.T) {
	large := &fakeStore{page: pageOf(100)}
	for _, tc := range []struct {
		name, path, accept string
		want               bool
	}{
		{"large", "/v1/messages", "gzip", true},
		{"large among others", "/v1/messages", "br;q=1.0, GZIP ; q=0.5", true},
		{"large refused", "/v1/messages", "gzip;q=0", false},
		{"large not asked", "/v1/messages", "", false},
		{"small", "/v1/node", "gzip", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tc.path, nil)
			r.Header.Set("Accept-Encoding", tc.accept)
			w := httptest.NewRecorder()
			newTestHandler(t, Options{Store: large}).ServeHTTP(w, r)
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != tc.want {
				t.Errorf("compressed %v, want %v", got, tc.want)
			}
			if tc.want == json.Valid(w.Body.Bytes()) {
				t.Errorf("body doesn't fit the header")
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	handler := newTestHandler(t, Options{Store: &fakeStore{}, Registerer: registry})
	for _, target := range []string{"/v1/messages/7", "/v1/messages/8", "/v1/messages/x", "/v1/anything", "/else"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, nil))
	}
	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP postfleet_nodeapi_requests_total Requests to the node API by route and HTTP status.
# TYPE postfleet_nodeapi_requests_total counter
postfleet_nodeapi_requests_total{code="200",route="/v1/messages/{id}"} 2
postfleet_nodeapi_requests_total{code="400",route="/v1/messages/{id}"} 1
postfleet_nodeapi_requests_total{code="501",route="unknown"} 2
`), "postfleet_nodeapi_requests_total")
	if err != nil {
		t.Error(err)
	}
}
