package apiclient

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers over TLS and gives a client that trusts it.
func serve(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := New(Options{URL: server.URL + "/", Token: "pft_x", CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestAsks(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer pft_x" {
			t.Errorf("asked as %q", r.Header.Get("Authorization"))
		}
		fmt.Fprintf(w, `{"messages":[{"node":"a","id":"5","sender":%q,"recipients":[]}],"next":"n","nodes":[{"node":"b","error":"away"}]}`, r.URL.RequestURI())
	})
	list, err := client.Messages(t.Context(), fleet.Query{QueueID: "4X"}, "c")
	if err != nil {
		t.Fatal(err)
	}
	if got := list.Messages[0].Sender; got != "/api/v1/messages?cursor=c&queue_id=4X" || list.Next != "n" || list.Failed()[0].Node != "b" {
		t.Errorf("%+v", list)
	}
}

func TestErrors(t *testing.T) {
	refused := serve(t, func(w http.ResponseWriter, _ *http.Request) { httperr.WriteJSON(w, fleet.Invalid("status", "no such")) })
	var own *fleet.Error
	if _, err := refused.Messages(t.Context(), fleet.Query{}, ""); !errors.As(err, &own) || own.Field != "status" {
		t.Errorf("refused: %v", err)
	}
	// A redirect is not followed: it could lead the token elsewhere.
	sent := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://evil.example/", http.StatusFound)
	})
	if _, err := sent.Messages(t.Context(), fleet.Query{}, ""); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("redirect: %v", err)
	}
	page := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	if _, err := page.Transcripts(t.Context(), "a", 5); err == nil || !strings.Contains(err.Error(), "read the answer of") {
		t.Errorf("a page: %v", err)
	}
	trusted := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("asked by a client that doesn't trust it") })
	stranger, err := New(Options{URL: trusted.base.String(), Token: "pft_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Messages(t.Context(), fleet.Query{}, ""); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
}

func TestEvents(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "retry: 3000\n\n: still here\n\nevent: change\ndata: {\"message\":\ndata: {\"queue_id\":\"A\"}}\n\nevent: later\ndata: [1]\n\n"+
			"event: gap\ndata: {\"node\":\"a\"}\n\nevent: change\r\ndata:{\"message\":{\"queue_id\":\"B\"}}\r\n\r\n")
	})
	var got []string
	err := client.Events(t.Context(), fleet.Query{}, func(c *fleet.Change) { got = append(got, c.Message.QueueID+c.Gap) })
	if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Join(got, " ") != "A a B" {
		t.Errorf("%v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Events(ctx, fleet.Query{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "event: change\ndata: {\n\n") })
	if err := broken.Events(t.Context(), fleet.Query{}, nil); err == nil || !strings.Contains(err.Error(), "read an event") {
		t.Errorf("broken event: %v", err)
	}
}
