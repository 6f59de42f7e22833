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

// onFleet does something with the nodes that a command means, through an aggregator.
func (f *keyOrderFlags) onFleet(ctx context.Context, do func(*apiclient.Client, []string) error) error {
	client, err := f.api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	nodes, err := f.targets(ctx, client)
	if err != nil {
		return err
	}
	return do(client, nodes)
}

// orderFleet has an aggregator order something of nodes, and prints their keys after it.
func orderFleet(cmd *cobra.Command, f *keyOrderFlags, change aggregator.KeyChange) error {
	return f.onFleet(cmd.Context(), func(client *apiclient.Client, nodes []string) error {
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
	})
}

// rotateFleet rotates on all nodes at once.
func rotateFleet(cmd *cobra.Command, f *keyOrderFlags, domains []string) error {
	for _, domain := range orAll(domains) {
		if err := orderFleet(cmd, f, aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain}); err != nil {
			return err
		}
	}
	return nil
}

// rotateOneByOne rotates on one node after the other; each one's new keys sign before the next one begins.
func rotateOneByOne(cmd *cobra.Command, f *keyOrderFlags, domains []string, wait time.Duration) error {
	return f.onFleet(cmd.Context(), func(client *apiclient.Client, nodes []string) error {
		for _, node := range nodes {
			for _, domain := range orAll(domains) {
				if _, err := client.OrderKeys(cmd.Context(), node, aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain}); err != nil {
					return fmt.Errorf("%s: %w", node, err)
				}
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: waiting for the records of its next keys\n", node)
			keys, err := awaitKeys(cmd.Context(), remoteKeys(client, node), domains, wait)
			if err != nil {
				return fmt.Errorf("%s: %w; the old keys sign, and no other node was begun", node, err)
			}
			if err := printKeys(cmd.OutOrStdout(), []*fleet.NodeKeys{keys}, f.json); err != nil {
				return err
			}
		}
		return nil
	})
}

// orAll stands for all domains where none is named.
func orAll(domains []string) []string {
	if len(domains) == 0 {
		return []string{""}
	}
	return domains
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
