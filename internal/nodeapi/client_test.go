package nodeapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestFailuresInWords(t *testing.T) {
	ours := func(node string, next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(nodeHeader, node)
			next(w, r)
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.Handler
		option  func(*ClientOptions)
		code    fleet.Code
		want    string
	}{
		{"slow", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil,
			fleet.CodeUnavailable, "no answer from node mx1 within "},
		{"cut off", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), nil,
			fleet.CodeUnavailable, "node mx1 closed the connection"},
		{"cut off within", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"name":`))
		}), nil, fleet.CodeUnavailable, "node mx1 closed the connection"},
		{"not JSON", answering(200, "<html>"), nil, fleet.CodeUnavailable, "node mx1 answered something that is not of the node API"},
		{"other JSON", answering(200, `{"name": 5}`), nil, fleet.CodeUnavailable, "node mx1 answered something that is not of the node API"},
		{"too large", answering(200, `{"name":"`+strings.Repeat("a", 2000)+`"}`), func(o *ClientOptions) { o.MaxAnswer = 1000 },
			fleet.CodeUnavailable, "the answer of node mx1 is too large"},
		{"redirect", http.RedirectHandler("https://example.com/", http.StatusFound), nil, fleet.CodeInternal, "node mx1: answered 302 Found"},
		{"proxy error", answering(502, "<html>"), nil, fleet.CodeInternal, "node mx1: answered 502 Bad Gateway"},
		{"no such route", answering(404, "404 page not found"), nil, fleet.CodeUnsupported, "node mx1 runs a version that can't answer this"},
		{"no such route of ours", ours("mx1", answering(501, `{"error":{"code":"not_supported","message":"no"}}`)), nil,
			fleet.CodeUnsupported, "node mx1 runs a version that can't answer this"},
		{"no such message", ours("mx1", answering(404, `{"error":{"code":"not_found","message":"no message 7"}}`)), nil,
			fleet.CodeNotFound, "no message 7"},
		{"bad query", ours("mx1", answering(400, `{"error":{"code":"invalid","field":"view","message":"no view"}}`)), nil,
			fleet.CodeInvalid, "view: no view"},
		{"paused", ours("mx1", answering(503, `{"error":{"code":"unavailable","message":"disk full"}}`)), nil,
			fleet.CodeUnavailable, "node mx1: disk full"},
		{"another node", ours("mx2", answering(200, `{}`)), nil, fleet.CodeUnavailable, "asked for node mx1 and reached node mx2"},
		{"unknown host", answering(200, `{}`), func(o *ClientOptions) { o.Base = "https://nowhere.invalid:1" }, fleet.CodeUnavailable,
			"the host name nowhere.invalid of node mx1 can't be looked up"},
		{"nobody there", answering(200, `{}`), func(o *ClientOptions) { o.Base = "https://" + closedPort(t) }, fleet.CodeUnavailable,
			"node mx1 refused the connection"},
		{"not TLS", answering(200, `{}`), func(o *ClientOptions) { o.Base = "https://" + plainPort(t) }, fleet.CodeUnavailable,
			"doesn't speak TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.option == nil {
				tc.option = func(*ClientOptions) {}
			}
			_, client := serve(t, tc.handler, tc.option)
			wait := 20 * time.Second
			if tc.name == "slow" {
				wait = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			_, err := client.Info(ctx)
			var shown *fleet.Error
			if !errors.As(err, &shown) || shown.Code != tc.code || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %T %v, want %s: %s", err, err, tc.code, tc.want)
			}
		})
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func plainPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mx1.example.com ESMTP Postfix\r\n"))
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestCallerGivesUp(t *testing.T) {
	_, client := serve(t, newTestHandler(t, Options{Store: &fakeStore{block: true}}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Messages(ctx, fleet.Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestConnectionIsReused(t *testing.T) {
	handler := newTestHandler(t, Options{Store: &fakeStore{page: pageOf(100)}})
	var connections sync.Map
	_, client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections.Store(r.RemoteAddr, true)
		handler.ServeHTTP(w, r)
	}))
	for range 5 {
		if _, err := client.Messages(deadline(t), fleet.Query{}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	connections.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections for five questions", n)
	}
}

func TestBadBase(t *testing.T) {
	for _, base := range []string{"", "mx1:8443", "http://mx1:8443", "https://", "https://mx1:8443/v1", "https://mx1:1?x=1", "https://mx1:x"} {
		t.Run(base, func(t *testing.T) {
			if _, err := NewClient(ClientOptions{Node: "mx1", Base: base}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", base)) {
				t.Errorf("got %v", err)
			}
		})
	}
}
