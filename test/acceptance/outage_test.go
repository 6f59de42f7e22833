package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/test/lab"
)

// probe sends a message through a node and waits until the page's API shows it.
func probe(t *testing.T, ctx context.Context, api fleetAPI, node *lab.Node) {
	t.Helper()
	id := lab.NewID()
	mail := lab.Mail{From: "orders@shop.example", To: []string{"bob@accept.example"}, Subject: "probe", ID: id}
	outcomes, err := lab.Client{}.Send(ctx, node.Postfix.Addr, mail)
	if err != nil || outcomes[0].Err != nil {
		t.Fatalf("probe through %s: %v, %+v", node.Name, err, outcomes)
	}
	lab.Await(t, ctx, func(ctx context.Context) error {
		messages, err := api.messages(ctx, url.Values{"message_id": {id}})
		if err != nil {
			return err
		}
		if len(messages) != 1 || messages[0].Node != node.Name || messages[0].InQueue() || len(messages[0].Signatures) == 0 {
			return fmt.Errorf("probe through %s: %+v", node.Name, messages)
		}
		return nil
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Every part of the fleet goes away and comes back, Consul's agent once with all that it knew. Mail is signed and
// recorded all along, and the page finds all nodes again by itself.
func TestRestarts(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 4*time.Minute)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 2, Consul: true})
	api := fleetAPI{f.Aggregator}
	all := api.allAnswer(len(f.Nodes))
	probe(t, ctx, api, f.Nodes[0])

	// While Consul is away, the last members serve on.
	must(t, f.Agent.Stop())
	probe(t, ctx, api, f.Nodes[0])
	probe(t, ctx, api, f.Nodes[1])
	must(t, f.Agent.Forget())
	must(t, f.Agent.Start(ctx))
	lab.Await(t, ctx, all)
	lab.Await(t, ctx, registered(f))
	probe(t, ctx, api, f.Nodes[1])

	must(t, f.Server.Kill())
	probe(t, ctx, api, f.Nodes[0])
	must(t, f.Server.Start(ctx))
	lab.Await(t, ctx, registered(f))
	lab.Await(t, ctx, all)

	must(t, f.Aggregator.Kill())
	must(t, f.Aggregator.Start(ctx))
	lab.Await(t, ctx, all)
	probe(t, ctx, api, f.Nodes[0])

	must(t, f.Nodes[1].Stop())
	must(t, f.Nodes[1].Start(ctx))
	lab.Await(t, ctx, all)
	probe(t, ctx, api, f.Nodes[1])
}

// registered is a check that Consul itself knows every node as healthy, under both services.
func registered(f *lab.Fleet) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, service := range []string{"postfleet-node", "smtp-out"} {
			healthy, err := f.Agent.Healthy(ctx, service)
			if err != nil {
				return err
			}
			if len(healthy) != len(f.Nodes) {
				return fmt.Errorf("Consul has %d healthy instances of %s, want %d", len(healthy), service, len(f.Nodes))
			}
		}
		return nil
	}
}

// A node that is stopped or killed is named with a reason, above a list that still has what the others answered, and its
// transcripts give a clear message.
func TestStoppedNodeIsNamed(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 2*time.Minute)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 2})
	api := fleetAPI{f.Aggregator}
	probe(t, ctx, api, f.Nodes[0])
	probe(t, ctx, api, f.Nodes[1])
	messages, err := api.messages(ctx, url.Values{"node": {"n2"}})
	if err != nil || len(messages) == 0 {
		t.Fatalf("messages of n2: %d, %v", len(messages), err)
	}
	must(t, f.Nodes[1].Kill())
	var list aggregator.List
	must(t, api.get(ctx, "/messages", &list))
	failed := list.Failed()
	if len(failed) != 1 || failed[0].Node != "n2" || failed[0].Error == "" {
		t.Errorf("failed nodes: %+v, want n2 with a reason", failed)
	}
	if len(list.Messages) == 0 {
		t.Error("the list lacks the messages of n1")
	}
	for i := range list.Messages {
		if list.Messages[i].Node != "n1" {
			t.Errorf("a message of %s, which is away", list.Messages[i].Node)
		}
	}
	if _, err := api.transcripts(ctx, &messages[0]); err == nil {
		t.Error("transcripts of a node that is away: no error")
	}
	must(t, f.Nodes[1].Start(ctx))
	lab.Await(t, ctx, api.allAnswer(2))
	if transcripts, err := api.transcripts(ctx, &messages[0]); err != nil || len(transcripts) == 0 {
		t.Errorf("transcripts after the node is back: %d, %v", len(transcripts), err)
	}
}

// A node that was away for a while catches up with its log.
func TestCatchesUp(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 2*time.Minute)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 1, MilterDefault: "accept"})
	api, node := fleetAPI{f.Aggregator}, f.Nodes[0]
	must(t, node.Stop())
	const missed = 100
	mails := make([]lab.Mail, missed)
	for i := range mails {
		mails[i] = lab.Mail{From: "orders@shop.example", To: []string{"bob@accept.example"}, Subject: "while away"}
	}
	if _, err := (lab.Client{}).Send(ctx, node.Postfix.Addr, mails...); err != nil {
		t.Fatal(err)
	}
	must(t, node.Postfix.Drained(ctx))
	must(t, node.Start(ctx))
	lab.Await(t, ctx, func(ctx context.Context) error {
		messages, err := api.messages(ctx, url.Values{"view": {"good"}})
		if len(messages) != missed {
			err = errors.Join(err, fmt.Errorf("%d messages, want %d", len(messages), missed))
		}
		return err
	})
	probe(t, ctx, api, node)
}
