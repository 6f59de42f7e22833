package nodeapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestEvents(t *testing.T) {
	changes := make(chan fleet.Change)
	handler := newTestHandler(t, Options{Store: &fakeStore{changes: changes}, Heartbeat: 5 * time.Millisecond})
	// Heartbeats alone keep the stream longer than the silence that is allowed.
	_, client := serve(t, handler, func(o *ClientOptions) { o.Silence = 5 * time.Second })
	sent := []fleet.Change{{Message: fleet.Message{Node: "mx1", ID: 1, Subject: "a\nb\r\n\r\nc"}},
		{Message: fleet.Message{Node: "mx1", ID: 2, Subject: strings.Repeat("long ", 20000)}}}
	go func() {
		for _, change := range sent {
			changes <- change
		}
		handler.EndStreams()
	}()
	var got []fleet.Change
	err := client.Events(deadline(t), func() {}, func(change fleet.Change) { got = append(got, change) })
	if err == nil || err.Error() != "node mx1 closed the connection" {
		t.Errorf("ended with %v", err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Error(diff)
	}
}

func TestEventsEnd(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler func(t *testing.T) http.Handler
		want    string
	}{
		{"node stops", func(t *testing.T) http.Handler {
			handler := newTestHandler(t, Options{Store: &fakeStore{}})
			handler.EndStreams()
			return handler
		}, "node mx1 closed the connection"},
		{"repository closes", func(t *testing.T) http.Handler {
			changes := make(chan fleet.Change)
			close(changes)
			return newTestHandler(t, Options{Store: &fakeStore{changes: changes}})
		}, "node mx1 closed the connection"},
		{"silence", func(t *testing.T) http.Handler {
			return newTestHandler(t, Options{Store: &fakeStore{}, Heartbeat: time.Hour})
		}, "nothing heard from node mx1 for 100ms"},
		{"old node", func(*testing.T) http.Handler { return http.NotFoundHandler() }, "runs a version that can't answer this"},
		{"not an event", func(*testing.T) http.Handler { return answering(200, "event: change\ndata: {\n\n") },
			"node mx1 answered something that is not of the node API"},
		{"endless line", func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, endless{}) })
		}, "the answer of node mx1 is too large"},
		{"endless event", func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for {
					if _, err := io.WriteString(w, "data: "+strings.Repeat("x", 1000)+"\n"); err != nil {
						return
					}
				}
			})
		}, "the answer of node mx1 is too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, client := serve(t, tc.handler(t), func(o *ClientOptions) {
				o.MaxAnswer = 100_000
				if tc.name == "silence" {
					o.Silence = 100 * time.Millisecond
				}
			})
			err := client.Events(deadline(t), func() {}, func(fleet.Change) { t.Error("an event came") })
			var shown *fleet.Error
			if !errors.As(err, &shown) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ended with %v, want %q", err, tc.want)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, strings.Repeat("x", len(p))), nil }

func TestEventsOfNewerNode(t *testing.T) {
	_, client := serve(t, answering(200, "event: weather\ndata: rain\n\nretry: 5\ndata: stray\n\nevent: change\ndata: {\"message\":{\"node\":\"mx1\",\ndata: \"id\":\"9\"},\"new\":1}\n\n"))
	var got []fleet.MessageID
	_ = client.Events(deadline(t), func() {}, func(change fleet.Change) { got = append(got, change.Message.ID) })
	if diff := cmp.Diff([]fleet.MessageID{9}, got); diff != "" {
		t.Error(diff)
	}
}

func TestListenerGoes(t *testing.T) {
	store := subscribed{&fakeStore{}, make(chan context.Context, 1)}
	_, client := serve(t, newTestHandler(t, Options{Store: store}))
	ctx, cancel := context.WithCancel(deadline(t))
	ended := make(chan error, 1)
	go func() { ended <- client.Events(ctx, func() {}, func(fleet.Change) {}) }()
	subscription := <-store.began
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	select {
	case <-subscription.Done():
	case <-deadline(t).Done():
		t.Error("the subscription outlives its listener")
	}
}

// subscribed tells of subscriptions.
type subscribed struct {
	*fakeStore
	began chan context.Context
}

func (s subscribed) Subscribe(ctx context.Context) <-chan fleet.Change {
	s.began <- ctx
	return nil
}

func TestStreamOutlivesTheWriteTimeout(t *testing.T) {
	const timeout = 50 * time.Millisecond
	changes := make(chan fleet.Change)
	server := httptest.NewUnstartedServer(newTestHandler(t, Options{Store: &fakeStore{changes: changes}, Heartbeat: 5 * time.Millisecond}))
	server.Config.WriteTimeout = timeout
	server.StartTLS()
	t.Cleanup(server.Close)
	began := time.Now()
	go func() {
		<-time.After(4 * timeout) // the subject of the test is that this long a pause does no harm
		changes <- fleet.Change{Message: fleet.Message{ID: 7}}
		close(changes)
	}()
	client, err := NewClient(ClientOptions{Node: "mx1", Base: server.URL, TLS: trusting(server)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	seen := 0
	_ = client.Events(deadline(t), func() {}, func(fleet.Change) { seen++ })
	if seen != 1 || time.Since(began) < 4*timeout {
		t.Errorf("%d changes within %s", seen, time.Since(began))
	}
}
