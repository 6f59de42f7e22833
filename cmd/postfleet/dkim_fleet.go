package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/apiclient"
	"github.com/postfleet/postfleet/internal/fleet"
)

// targets are the nodes that a command means.
func (f *keyOrderFlags) targets(ctx context.Context, client *apiclient.Client) ([]string, error) {
	if !f.allNodes {
		return f.nodes, nil
	}
	answer, err := client.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, view := range answer.Nodes {
		if view.Keys == nil {
			return nil, fmt.Errorf("node %s does not answer: %s; name the others with --on", view.Answer.Node, view.Answer.Error)
		}
		names = append(names, view.Answer.Node)
	}
	return names, nil
}

// orderFleet has an aggregator order something of nodes, and prints their keys after it.
func orderFleet(cmd *cobra.Command, f *keyOrderFlags, change aggregator.KeyChange) error {
	client, err := f.api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	nodes, err := f.targets(cmd.Context(), client)
	if err != nil {
		return err
	}
	var after []*fleet.NodeKeys
	var failed []error
	for _, node := range nodes {
		view, err := client.OrderKeys(cmd.Context(), node, change)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", node, err))
			continue
		}
		after = append(after, view.Keys)
	}
	return errors.Join(append(failed, printKeys(cmd.OutOrStdout(), after, f.json))...)
}

// rotateFleet rotates on all nodes at once, or on one after the other.
func rotateFleet(cmd *cobra.Command, f *keyOrderFlags, domains []string, oneByOne bool, wait time.Duration) error {
	if len(domains) == 0 {
		domains = []string{""}
	}
	if !oneByOne {
		for _, domain := range domains {
			if err := orderFleet(cmd, f, aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain}); err != nil {
				return err
			}
		}
		return nil
	}
	client, err := f.api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	nodes, err := f.targets(cmd.Context(), client)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		for _, domain := range domains {
			if _, err := client.OrderKeys(cmd.Context(), node, aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain}); err != nil {
				return fmt.Errorf("%s: %w", node, err)
			}
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: waiting for the records of its next keys\n", node)
		keys, err := awaitKeys(cmd.Context(), client, node, wait)
		if err != nil {
			return err
		}
		if err := printKeys(cmd.OutOrStdout(), []*fleet.NodeKeys{keys}, f.json); err != nil {
			return err
		}
	}
	return nil
}

// askEvery is how often a node is asked whether its new keys sign.
const askEvery = 2 * time.Second

// awaitKeys waits until no key of a node waits any more.
func awaitKeys(ctx context.Context, client *apiclient.Client, node string, wait time.Duration) (*fleet.NodeKeys, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		answer, err := client.Keys(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if err == nil {
			if keys := keysOf(answer, node); keys != nil && !slices.ContainsFunc(keys.Keys, func(k fleet.Key) bool { return k.Stage == fleet.StageWaiting }) {
				return keys, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: its next keys don't sign after %s; the old ones do, and no other node was begun", node, wait)
		case <-tick.C:
		}
	}
}

func keysOf(answer *aggregator.KeysAnswer, node string) *fleet.NodeKeys {
	for _, view := range answer.Nodes {
		if view.Answer.Node == node {
			return view.Keys
		}
	}
	return nil
}

// listFleet prints the keys of nodes of the fleet.
func listFleet(cmd *cobra.Command, f *keyOrderFlags) error {
	client, err := f.api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := client.Keys(cmd.Context())
	if err != nil {
		return err
	}
	var keys []*fleet.NodeKeys
	for _, view := range answer.Nodes {
		switch {
		case !f.allNodes && !slices.Contains(f.nodes, view.Answer.Node):
		case view.Keys == nil:
			fmt.Fprintf(cmd.ErrOrStderr(), "! %s: %s\n", view.Answer.Node, visible(view.Answer.Error))
		default:
			keys = append(keys, view.Keys)
		}
	}
	for _, clash := range answer.Clashes {
		fmt.Fprintf(cmd.ErrOrStderr(), "! %s\n", visible(clash))
	}
	return printKeys(cmd.OutOrStdout(), keys, f.json)
}
