// Package acceptance holds the promises about the whole up against real Postfix instances, real sinks, a real Consul
// server, node daemons and an aggregator.
package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// binary is postfleet, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(lab.Main(m, &binary, client.CloseIdleConnections)) }

var client = &http.Client{Timeout: 30 * time.Second}

// fleetAPI asks the aggregator's JSON API.
type fleetAPI struct{ *lab.Aggregator }

func (a fleetAPI) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+"/api/v1"+path, nil)
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
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, reason)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// messages are all that match, page after page as a program would fetch them.
func (a fleetAPI) messages(ctx context.Context, filters url.Values) ([]fleet.Message, error) {
	var all []fleet.Message
	query := url.Values{"limit": {"50"}}
	for name, values := range filters {
		query[name] = values
	}
	for {
		var list aggregator.List
		if err := a.get(ctx, "/messages?"+query.Encode(), &list); err != nil {
			return nil, err
		}
		if failed := list.Failed(); len(failed) > 0 {
			return nil, fmt.Errorf("no answer from %s: %s", failed[0].Node, failed[0].Error)
		}
		all = append(all, list.Messages...)
		if list.Next == "" {
			return all, nil
		}
		query.Set("cursor", list.Next)
	}
}

func (a fleetAPI) transcripts(ctx context.Context, m *fleet.Message) ([]fleet.Transcript, error) {
	var answer aggregator.TranscriptsAnswer
	err := a.get(ctx, "/messages/"+m.Node+"/"+m.ID.String()+"/transcripts", &answer)
	return answer.Transcripts, err
}

func (a fleetAPI) nodes(ctx context.Context) ([]aggregator.NodeView, error) {
	var answer aggregator.NodesAnswer
	err := a.get(ctx, "/nodes", &answer)
	return answer.Nodes, err
}

// allAnswer is a check that so many nodes are known and every one of them answers.
func (a fleetAPI) allAnswer(count int) func(context.Context) error {
	return func(ctx context.Context) error {
		nodes, err := a.nodes(ctx)
		if err != nil {
			return err
		}
		var errs []error
		if len(nodes) != count {
			errs = append(errs, fmt.Errorf("%d nodes, want %d", len(nodes), count))
		}
		for _, node := range nodes {
			if node.Answer.Error != "" || !node.Member.Healthy {
				errs = append(errs, fmt.Errorf("node %s: healthy %t (%s), answer %q",
					node.Member.Name, node.Member.Healthy, node.Member.Reason, node.Answer.Error))
			}
		}
		return errors.Join(errs...)
	}
}

// startFleet runs a fleet for a test; extra decides what differs from one with a static list.
func startFleet(t *testing.T, ctx context.Context, opts lab.FleetOptions) (*lab.Lab, *lab.Fleet, *lab.World) {
	t.Helper()
	l := lab.ForTest(t)
	world, err := l.StartWorld(ctx, lab.Remotes)
	if err != nil {
		t.Fatal(err)
	}
	opts.Binary, opts.Routes, opts.Domains = binary, world.Routes, append(opts.Domains, "shop.example")
	opts.Users = map[string]string{"ann": "secret"}
	f, err := l.StartFleet(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	lab.Await(t, ctx, fleetAPI{f.Aggregator}.allAnswer(len(f.Nodes)))
	return l, f, world
}
