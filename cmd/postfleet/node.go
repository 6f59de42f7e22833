package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/apiclient"
	"github.com/postfleet/postfleet/internal/fleet"
)

func newNode() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "List the nodes of the fleet, drain them, forget them",
		Long: `List the nodes of the fleet, drain them, and forget those that left for good. The aggregator is asked; what is changed
stands in its audit log.`,
		Args: cobra.ArbitraryArgs,
		RunE: wantsSubcommand,
	}
	cmd.AddCommand(newNodeList(), newNodeShow(), newNodeDrain(), newNodeUndrain(), newNodeForget())
	return cmd
}

// nodeCommand is a command that asks the aggregator about nodes.
type nodeCommand struct {
	api  apiFlags
	json bool
}

// ask makes cmd a command that asks with a client.
func (c *nodeCommand) ask(cmd *cobra.Command, do func(context.Context, *apiclient.Client, *cobra.Command, []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := c.api.client(os.Getenv)
		if err != nil {
			return err
		}
		defer client.Close()
		return do(cmd.Context(), client, cmd, args)
	}
	c.api.flags(cmd)
	jsonFlag(cmd, &c.json)
	return cmd
}

// print shows a value as JSON, or as text makes it.
func (c *nodeCommand) print(cmd *cobra.Command, value any, text func(screen) error) error {
	if c.json {
		return newJSON(cmd.OutOrStdout()).Encode(value)
	}
	return text(newScreen(cmd.OutOrStdout(), os.Getenv))
}

func newNodeList() *cobra.Command {
	var c nodeCommand
	return c.ask(&cobra.Command{
		Use:     "list",
		Short:   "List the nodes: who is fit for mail, and who is not, and why",
		Example: "  postfleet node list",
		Args:    exactArgs(0),
	}, func(ctx context.Context, client *apiclient.Client, cmd *cobra.Command, _ []string) error {
		answer, err := client.Nodes(ctx)
		if err != nil {
			return err
		}
		if answer.DiscoveryAway != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: the nodes are those known last: %s\n", visible(answer.DiscoveryAway))
		}
		return c.print(cmd, answer.Nodes, func(s screen) error { return s.nodes(answer.Nodes) })
	})
}

func newNodeShow() *cobra.Command {
	var c nodeCommand
	return c.ask(&cobra.Command{
		Use:     "show NODE",
		Short:   "Show what a node says of itself",
		Example: "  postfleet node show mx1",
		Args:    exactArgs(1),
	}, func(ctx context.Context, client *apiclient.Client, cmd *cobra.Command, args []string) error {
		view, err := nodeView(ctx, client, args[0])
		if err != nil {
			return err
		}
		return c.print(cmd, view, func(s screen) error { return s.node(view) })
	})
}

// nodeView is the node of that name.
func nodeView(ctx context.Context, client *apiclient.Client, name string) (*aggregator.NodeView, error) {
	answer, err := client.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for i := range answer.Nodes {
		if answer.Nodes[i].Member.Name == name {
			return &answer.Nodes[i], nil
		}
	}
	return nil, fmt.Errorf("no node %q in the fleet", name)
}

func newNodeDrain() *cobra.Command {
	var c nodeCommand
	var reason string
	var wait bool
	var timeout time.Duration
	cmd := c.ask(&cobra.Command{
		Use:     "drain NODE",
		Short:   "Take a node out of service: see postfleet drain",
		Example: "  postfleet node drain mx1 --reason disks --wait",
		Args:    exactArgs(1),
	}, func(ctx context.Context, client *apiclient.Client, cmd *cobra.Command, args []string) error {
		if timeout < 0 || timeout > 0 && !wait {
			return usageError{fmt.Errorf("--timeout goes with --wait, and is a time above 0")}
		}
		drain, err := client.Drain(ctx, args[0], reason)
		if err != nil {
			return err
		}
		if wait {
			return waitForDrain(cmd, remoteDrain(client, args[0]), timeout, c.json)
		}
		return newDrainReport(cmd, c.json).show(drain)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever sees it on the page")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until nothing is left on it")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --wait: give up after this time; 0: never")
	return cmd
}

// remoteDrain asks the aggregator how far a node is.
func remoteDrain(client *apiclient.Client, name string) askDrain {
	return func(ctx context.Context) (*fleet.Drain, error) {
		view, err := nodeView(ctx, client, name)
		switch {
		case err != nil:
			return nil, err
		case view.Info == nil:
			return nil, fmt.Errorf("node %s: %s", name, view.Answer.Error)
		}
		return view.Info.Drain, nil
	}
}

func newNodeUndrain() *cobra.Command {
	var c nodeCommand
	return c.ask(&cobra.Command{
		Use:     "undrain NODE",
		Short:   "Have a node take mail again",
		Example: "  postfleet node undrain mx1",
		Args:    exactArgs(1),
	}, func(ctx context.Context, client *apiclient.Client, cmd *cobra.Command, args []string) error {
		if err := client.Undrain(ctx, args[0]); err != nil {
			return err
		}
		return newDrainReport(cmd, c.json).show(nil)
	})
}

func newNodeForget() *cobra.Command {
	var c nodeCommand
	return c.ask(&cobra.Command{
		Use:   "forget NODE",
		Short: "End the place of a node in the fleet that left for good",
		Long: `End the place of a node in the fleet that left for good: nobody is warned of it any more, and lists are complete without
it. Its messages are no longer found. A node that answers is not forgotten; one that registers again is back.`,
		Example: "  postfleet node forget mx1",
		Args:    exactArgs(1),
	}, func(ctx context.Context, client *apiclient.Client, cmd *cobra.Command, args []string) error {
		if err := client.Forget(ctx, args[0]); err != nil {
			return err
		}
		return c.print(cmd, map[string]string{"forgotten": args[0]}, func(s screen) error {
			_, err := fmt.Fprintf(s, "node %s is forgotten\n", visible(args[0]))
			return err
		})
	})
}
