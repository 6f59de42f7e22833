package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator/apiclient"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
)

func newDKIMWait() *cobra.Command {
	var f keyOrderFlags
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait [DOMAIN…]",
		Short: "Wait until the next keys of domains, or of all, sign",
		Long: `Wait until the next keys of domains, or of all, sign: until no key waits any more. With --on or --on-all, until that is so on
each of these nodes.

The command ends with status 1 when --timeout ends before, and names the node, and for each key that waits the record that DNS lacks.
The old keys sign meanwhile, and the new ones wait on.`,
		Example: "  postfleet dkim wait --timeout 30m\n  postfleet dkim wait --on mx1,mx2 example.com",
		RunE: func(cmd *cobra.Command, domains []string) error {
			if timeout <= 0 {
				return usageError{errors.New("--timeout: expected a time, such as 30m")}
			}
			var keys []*fleet.NodeKeys
			var err error
			if f.remote() {
				keys, err = awaitFleet(cmd.Context(), &f, domains, timeout)
			} else {
				keys, err = awaitLocal(cmd.Context(), &f, domains, timeout)
			}
			if err != nil {
				return err
			}
			return printKeys(cmd.OutOrStdout(), keys, f.json)
		},
	}
	f.flags(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", time.Hour, "give up after this time")
	return cmd
}

// askEvery is how often a node is asked whether its new keys sign.
const askEvery = 2 * time.Second

// askKeys tells where the keys of a node are in their lives.
type askKeys func(context.Context) (*fleet.NodeKeys, error)

// awaitKeys waits until no key of these domains waits any more; of any, where none is named. A domain without a key is an error.
func awaitKeys(ctx context.Context, ask askKeys, domains []string, timeout time.Duration) (*fleet.NodeKeys, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	for {
		keys, err := ask(ctx)
		switch {
		case err == nil:
			if domain := keyless(keys, domains); domain != "" {
				return nil, fmt.Errorf("no key for %q on node %s", domain, visible(keys.Node))
			}
			if last = stillWaiting(keys, domains); last == nil {
				return keys, nil
			}
		case ctx.Err() == nil:
			last = err
		}
		if !pauseFor(ctx, askEvery) {
			return nil, fmt.Errorf("not after %s: %w", timeout, cmp.Or(last, ctx.Err()))
		}
	}
}

// stillWaiting names the keys that wait, and for what; nil: none does.
func stillWaiting(keys *fleet.NodeKeys, domains []string) error {
	var waiting []error
	for i := range keys.Keys {
		if key := &keys.Keys[i]; key.Stage == fleet.StageWaiting && (len(domains) == 0 || ofAny(key, domains)) {
			waiting = append(waiting, fmt.Errorf("%s: %s does not sign: %s", visible(keys.Node), visible(key.Name), visible(lacks(key))))
		}
	}
	return errors.Join(waiting...)
}

func ofAny(key *fleet.Key, domains []string) bool {
	return slices.ContainsFunc(domains, func(domain string) bool { return strings.EqualFold(domain, key.Domain) })
}

// keyless names the first of the domains that has no key; empty: each has.
func keyless(keys *fleet.NodeKeys, domains []string) string {
	for _, domain := range domains {
		if !slices.ContainsFunc(keys.Keys, func(key fleet.Key) bool { return ofAny(&key, []string{domain}) }) {
			return domain
		}
	}
	return ""
}

// lacks says what a key waits for; of a record also what was seen of it the last time, and what to publish.
func lacks(key *fleet.Key) string {
	text := cmp.Or(key.Found.Failure, key.Found.Text, "it was not looked up yet")
	switch {
	case key.Found.Record == fleet.RecordMatches || key.Conflict != "":
		return "it waits for " + cmp.Or(key.Waits, "the node daemon, which has to run")
	case key.UpdateErr != "":
		text += "; " + key.UpdateErr
	}
	return fmt.Sprintf("its record is not in DNS: %s; publish %s TXT %q", text, key.Name, key.Text)
}

// awaitLocal waits for the keys of this host. The daemon writes down where they are.
func awaitLocal(ctx context.Context, f *keyOrderFlags, domains []string, timeout time.Duration) ([]*fleet.NodeKeys, error) {
	own, err := openLife(f.config)
	if err != nil {
		return nil, usageError{err}
	}
	keys, err := awaitKeys(ctx, localKeys(own), domains, timeout)
	return []*fleet.NodeKeys{keys}, err
}

func localKeys(own *life.Life) askKeys {
	return func(context.Context) (*fleet.NodeKeys, error) {
		if err := own.Refresh(nil); err != nil {
			return nil, err
		}
		return own.Keys(), nil
	}
}

// awaitFleet waits for nodes of the fleet. All have the same time; what each one lacked then is told.
func awaitFleet(ctx context.Context, f *keyOrderFlags, domains []string, timeout time.Duration) (all []*fleet.NodeKeys, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = f.onFleet(ctx, func(client *apiclient.Client, nodes []string) error {
		all = make([]*fleet.NodeKeys, len(nodes))
		failed := make([]error, len(nodes))
		var running sync.WaitGroup
		for i, node := range nodes {
			running.Go(func() { all[i], failed[i] = awaitKeys(ctx, remoteKeys(client, node), domains, timeout) })
		}
		running.Wait()
		return errors.Join(failed...)
	})
	return all, err
}

// remoteKeys asks an aggregator for the keys of a node.
func remoteKeys(client *apiclient.Client, node string) askKeys {
	return func(ctx context.Context) (*fleet.NodeKeys, error) {
		answer, err := client.Keys(ctx)
		if err != nil {
			return nil, err
		}
		for _, view := range answer.Nodes {
			switch {
			case view.Answer.Node != node:
			case view.Keys == nil:
				return nil, fmt.Errorf("node %s does not answer: %s", node, visible(view.Answer.Error))
			default:
				return view.Keys, nil
			}
		}
		return nil, fmt.Errorf("no node %q in the fleet", node)
	}
}
