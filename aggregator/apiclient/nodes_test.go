package apiclient

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

func TestNodes(t *testing.T) {
	var asked []string
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Content-Type")+" "+string(body))
		switch r.URL.Path {
		case "/api/v1/nodes":
			fmt.Fprint(w, `{"nodes": [{"member": {"name": "mx1"}}], "discovery_away": "no"}`)
		case "/api/v1/nodes/mx1/drain":
			fmt.Fprint(w, `{"node": "mx1", "drain": {"left": 3}}`)
		case "/api/v1/nodes/a/b/forget":
			httperr.WriteJSON(w, fleet.Errorf(fleet.CodeConflict, "it answers"))
		default:
			fmt.Fprint(w, `{"node": "mx1"}`)
		}
	})
	nodes, err := client.Nodes(t.Context())
	if err != nil || len(nodes.Nodes) != 1 || nodes.Nodes[0].Member.Name != "mx1" || nodes.DiscoveryAway != "no" {
		t.Errorf("%+v, %v", nodes, err)
	}
	drain, err := client.Drain(t.Context(), "mx1", "kernel")
	if err != nil || drain == nil || drain.Left != 3 {
		t.Errorf("%+v, %v", drain, err)
	}
	if err := client.Undrain(t.Context(), "mx1"); err != nil {
		t.Error(err)
	}
	if err := client.Forget(t.Context(), "a/b"); fleet.CodeOf(err) != fleet.CodeConflict || err.Error() != "it answers" {
		t.Errorf("got %v", err)
	}
	want := []string{"GET /api/v1/nodes  ", `POST /api/v1/nodes/mx1/drain application/json {"reason":"kernel"}`,
		"POST /api/v1/nodes/mx1/undrain application/json {}", "POST /api/v1/nodes/a%2Fb/forget application/json {}"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}
