package consul

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// newTestClient reaches a handler that plays the agent; the environment has no say.
func newTestClient(t *testing.T, agent http.Handler, change ...func(*Options)) *Client {
	t.Helper()
	clearEnvironment(t)
	server := httptest.NewServer(agent)
	t.Cleanup(server.Close)
	o := Options{Address: server.URL, Wait: time.Second, RetryMax: 5 * time.Millisecond, Log: zap.NewNop(), Registerer: prometheus.NewRegistry()}
	for _, one := range change {
		one(&o)
	}
	client, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ADDR", "TOKEN", "TOKEN_FILE", "AUTH", "SSL", "SSL_VERIFY"} {
		t.Setenv("CONSUL_HTTP_"+name, "")
	}
	for _, name := range []string{"CONSUL_CACERT", "CONSUL_CAPATH", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY", "CONSUL_TLS_SERVER_NAME"} {
		t.Setenv(name, "")
	}
}

// reply answers with an index, as a blocking query does.
func reply(w http.ResponseWriter, index uint64, body any) {
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	_ = json.NewEncoder(w).Encode(body)
}

// goUntil runs something in the background; the function that it gives ends it.
func goUntil(t *testing.T, do func(context.Context)) (stop func()) {
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

// await polls until it holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		<-tick.C
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
