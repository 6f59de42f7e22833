package nodeapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	var ordered []fleet.DrainOrder
	drains := Options{Drain: func(_ context.Context, order fleet.DrainOrder) (*fleet.Drain, error) {
		ordered = append(ordered, order)
		if order.Reason == "full" {
			return nil, fleet.Errorf(fleet.CodeUnavailable, "no space left")
		}
		if !order.On {
			return nil, nil
		}
		return &fleet.Drain{Since: noon, By: order.By, Left: 3, Text: "3 messages left"}, nil
	}}
	server, client := serve(t, newTestHandler(t, drains))
	on := fleet.DrainOrder{On: true, By: "anna", Reason: "kernel"}
	got, err := client.Drain(deadline(t), on)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&fleet.Drain{Since: noon, By: "anna", Left: 3, Text: "3 messages left"}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := client.Drain(deadline(t), fleet.DrainOrder{By: "bert"}); got != nil || err != nil {
		t.Errorf("undrained: %+v, %v", got, err)
	}
	if _, err := client.Drain(deadline(t), fleet.DrainOrder{On: true, Reason: "full"}); fleet.CodeOf(err) != fleet.CodeUnavailable ||
		err.Error() != "node mx1: no space left" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]fleet.DrainOrder{on, {By: "bert"}, {On: true, Reason: "full"}}, ordered); diff != "" {
		t.Error(diff)
	}

	ordered = nil
	for name, body := range map[string]string{"nothing": "", "not JSON": "on", "wrong type": `{"on": "yes"}`, "too large": `{"on": true, "by": "` + strings.Repeat("x", 2<<20)} {
		response, err := server.Client().Post(server.URL+routeDrain, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, response.StatusCode)
		}
	}
	if len(ordered) > 0 {
		t.Errorf("carried out: %+v", ordered)
	}
	_, node := serve(t, newTestHandler(t, Options{Drain: drains.Drain, Caller: asNode}))
	if _, err := node.Drain(deadline(t), on); fleet.CodeOf(err) != fleet.CodeForbidden {
		t.Errorf("a node drains another: %v", err)
	}
}

// A node of a version that can't drain says so, and nothing happens there.
func TestDrainOfAnOldNode(t *testing.T) {
	t.Parallel()
	_, old := serve(t, newTestHandler(t, Options{}))
	_, err := old.Drain(deadline(t), fleet.DrainOrder{On: true})
	if fleet.CodeOf(err) != fleet.CodeUnsupported || err.Error() != "node mx1 runs a version that can't answer this" {
		t.Errorf("got %v", err)
	}
}
