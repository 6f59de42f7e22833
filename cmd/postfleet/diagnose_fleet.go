package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/apiclient"
	"github.com/postfleet/postfleet/internal/fleet"
)

// ofFleet prints what the nodes found last, or finds now.
func (c *diagnoseCommand) ofFleet(cmd *cobra.Command, checks []string) error {
	client, err := c.api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	if c.run {
		if err := c.lookAgain(cmd, client, checks); err != nil {
			return err
		}
	}
	answer, err := client.Diagnosis(cmd.Context(), "")
	if err != nil {
		return err
	}
	failed := 0
	for _, n := range answer.Nodes {
		if n.Error != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: node %s did not answer: %s\n", visible(n.Node), visible(n.Error))
			failed++
		} else if n.Diagnoses.Latest != nil {
			failed += n.Diagnoses.Latest.Count(fleet.GradeFail)
		}
	}
	switch screen := newScreen(cmd.OutOrStdout(), os.Getenv); {
	case c.json:
		err = newJSON(cmd.OutOrStdout()).Encode(answer)
	default:
		if err = screen.matrix(answer.Nodes); err == nil {
			err = screen.fleetFindings(answer.Nodes, c.verbose)
		}
	}
	if err == nil && failed > 0 {
		err = errFindings
	}
	return err
}

// lookAgain has all nodes look, and waits until none does any more.
func (c *diagnoseCommand) lookAgain(cmd *cobra.Command, client *apiclient.Client, checks []string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), requestDone)
	defer cancel()
	answer, err := client.Diagnose(ctx, aggregator.DiagnosisWish{Checks: checks})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for err == nil {
		running := 0
		for _, n := range answer.Nodes {
			if n.Diagnoses != nil && n.Diagnoses.Running != nil {
				running++
			}
		}
		if running == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d nodes still look: %w", running, ctx.Err())
		case <-tick.C:
			answer, err = client.Diagnosis(ctx, "")
		}
	}
	return err
}

// newDiagnoseSend sends a test message.
func newDiagnoseSend() *cobra.Command {
	var flags apiFlags
	var node, from string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "send ADDRESS",
		Short: "Send a test message from a node, or from each",
		Long: `Send a test message from a node, or from each. The node's own Postfix takes it, signs it and sends it as any other mail.
postfleet trace with the Message-ID that is printed shows its way.`,
		Example: "  postfleet diagnose send --node mx1 you@example.org",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := flags.client(os.Getenv)
			if err != nil {
				return err
			}
			defer client.Close()
			answer, err := client.SendTest(cmd.Context(), aggregator.TestWish{Node: node, To: args[0], From: from})
			if err != nil {
				return err
			}
			return printSent(cmd, answer.Messages, asJSON)
		},
	}
	flags.flags(cmd)
	cmd.Flags().StringVar(&node, "node", "", "from this node alone")
	cmd.Flags().StringVar(&from, "from", "", "sender; by default postmaster of the node's first domain")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printSent(cmd *cobra.Command, sent []aggregator.NodeTest, asJSON bool) error {
	var failed error
	for _, one := range sent {
		if one.Message == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: node %s did not send it: %s\n", visible(one.Node), visible(one.Error))
			failed = errors.New("not every node sent it")
		}
		var err error
		switch {
		case asJSON:
			err = newJSON(cmd.OutOrStdout()).Encode(one)
		case one.Message != nil:
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  queue id %s  <%s>\n", visible(one.Node), visible(one.Message.QueueID), visible(one.Message.MessageID))
		}
		if err != nil {
			return err
		}
	}
	return failed
}
