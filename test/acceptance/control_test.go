package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// post asks the aggregator to change something.
func (a fleetAPI) post(ctx context.Context, path string, value, into any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.Token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("POST %s: %s: %s", path, resp.Status, reason)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// node is what the aggregator says of one.
func (a fleetAPI) node(ctx context.Context, name string) (*aggregator.NodeView, error) {
	nodes, err := a.nodes(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(nodes, func(n aggregator.NodeView) bool { return n.Member.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("no node %s", name)
	}
	return &nodes[at], nil
}

// Settings that one aggregator changes are in force on every node soon after, without a reload; somebody who had read the
// ones before changes nothing. A node is drained and taken back, and one that is dead for good is forgotten.
func TestSettingsAndOrders(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 4*time.Minute)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 2, Consul: true, Relay: "mode: off"})
	api := fleetAPI{f.Aggregator}
	var before, after aggregator.RelayAnswer
	must(t, api.get(ctx, "/relay", &before))
	change := aggregator.RelayChange{Index: before.Index, Relay: fleet.Relay{Mode: fleet.RelayFailover, MaxQueue: 77}}
	began := time.Now()
	must(t, api.post(ctx, "/relay", change, &after))
	if after.Settings.Relay.MaxQueue != 77 || after.Settings.ChangeBy != "lab" || after.Index == before.Index {
		t.Errorf("put in force: %+v", after)
	}
	lab.Await(t, ctx, func(ctx context.Context) error {
		var now aggregator.RelayAnswer
		if err := api.get(ctx, "/relay", &now); err != nil {
			return err
		}
		for _, node := range now.Nodes {
			if node.State == nil || !node.Current || node.State.Mode != fleet.RelayFailover {
				return fmt.Errorf("node %s: %+v %+v", node.Node, node, node.State)
			}
		}
		return nil
	})
	t.Logf("in force on every node, as the page shows it, %v after the change was asked for", time.Since(began).Round(time.Millisecond))
	if err := api.post(ctx, "/relay", change, &after); err == nil {
		t.Error("who had read the settings before changed them again")
	}

	var ordered aggregator.NodeOrdered
	must(t, api.post(ctx, "/nodes/n2/drain", aggregator.NodeOrder{Reason: "new kernel"}, &ordered))
	if ordered.Drain == nil || ordered.Drain.By == "" {
		t.Errorf("drain: %+v", ordered)
	}
	lab.Await(t, ctx, func(ctx context.Context) error {
		node, err := api.node(ctx, "n2")
		if err != nil {
			return err
		}
		if node.Info == nil || node.Info.Drain == nil || !node.Info.Drain.Safe || node.Member.Fit {
			return fmt.Errorf("n2 isn't drained: fit %v (%s), %+v", node.Member.Fit, node.Member.Unfit, node.Info)
		}
		return nil
	})
	must(t, api.post(ctx, "/nodes/n2/undrain", aggregator.NodeOrder{}, &ordered))
	lab.Await(t, ctx, func(ctx context.Context) error {
		node, err := api.node(ctx, "n2")
		if err != nil {
			return err
		}
		if node.Info == nil || node.Info.Drain != nil || !node.Member.Fit {
			return fmt.Errorf("n2 isn't back: fit %v (%s)", node.Member.Fit, node.Member.Unfit)
		}
		return nil
	})

	if err := api.post(ctx, "/nodes/n2/forget", aggregator.NodeOrder{}, &ordered); err == nil {
		t.Error("a node that answers was forgotten")
	}
	must(t, f.Nodes[1].Kill())
	lab.Await(t, ctx, func(ctx context.Context) error {
		return api.post(ctx, "/nodes/n2/forget", aggregator.NodeOrder{}, &ordered)
	})
	if _, err := api.node(ctx, "n2"); err == nil {
		t.Error("a node that was forgotten is still listed")
	}
	must(t, f.Nodes[1].Start(ctx))
	lab.Await(t, ctx, api.allAnswer(2)) // it registers, and is a member again
}
