package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/apiclient"
	"github.com/postfleet/postfleet/internal/fleet"
)

// traceOptions are the flags of trace.
type traceOptions struct {
	api        apiFlags
	since      string
	node       string
	limit      int
	transcript bool
	json       bool
}

func newTrace() *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace QUEUE-ID | MESSAGE-ID | SENDER RECIPIENT",
		Short: "Show the way of a message through the fleet",
		Long: `Show the way of a message through the fleet: where it came from, its signatures, and every attempt for every recipient.

It is found by its queue id, its Message-ID, or its envelope sender and recipient (as postfleet's filters have them:
user@domain, @domain, a part of the address, or <> for the null sender). The newest come first.`,
		Example: `  postfleet trace 4bXyZ13abcz
  postfleet trace --transcript '<20261123.1@example.org>'
  postfleet trace --since 2d @example.org someone@example.com`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usageError{errors.New("expected a queue id, a message id, or a sender and a recipient")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.api.flags(cmd)
	cmd.Flags().StringVar(&o.since, "since", "", "first seen since: RFC 3339, or a span back from now such as 24h or 7d")
	cmd.Flags().StringVar(&o.node, "node", "", "ask that node alone")
	cmd.Flags().IntVar(&o.limit, "limit", 10, "how many messages")
	cmd.Flags().BoolVarP(&o.transcript, "transcript", "t", false, "with the SMTP conversations, fetched from the node")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object a message")
	return cmd
}

// query is what the arguments and flags ask for.
func (o *traceOptions) query(args []string) (fleet.Query, error) {
	values := map[string][]string{"node": {o.node}, "since": {o.since}, "limit": {fmt.Sprint(o.limit)}}
	switch {
	case len(args) == 2:
		values["sender"], values["recipient"] = args[:1], args[1:]
	case strings.Contains(args[0], "@"):
		values["message_id"] = args
	default:
		values["queue_id"] = args
	}
	q, err := fleet.ParseQuery(values, now())
	if err != nil {
		return q, usageError{err}
	}
	return q, nil
}

// traced is a message as --json prints it.
type traced struct {
	fleet.Message
	Transcripts []fleet.Transcript `json:"transcripts,omitempty"`
}

func (o *traceOptions) run(cmd *cobra.Command, args []string) error {
	q, err := o.query(args)
	if err != nil {
		return err
	}
	client, err := o.api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	list, err := client.Messages(cmd.Context(), q, "")
	if err != nil {
		return err
	}
	reportFailed(cmd, list.Failed())
	screen := newScreen(cmd.OutOrStdout(), os.Getenv)
	for i := range list.Messages {
		one := traced{Message: list.Messages[i]}
		if o.transcript {
			if one.Transcripts, err = conversations(cmd.Context(), client, &one.Message); err != nil {
				return err
			}
		}
		if o.json {
			err = newJSON(cmd.OutOrStdout()).Encode(one)
		} else {
			err = screen.message(&one)
		}
		if err != nil {
			return err
		}
	}
	if len(list.Messages) == 0 {
		return errors.New("no such message")
	}
	if list.Next != "" && len(list.Messages) == o.limit {
		fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: there are older ones: --limit or --since reach them\n")
	}
	return nil
}

func conversations(ctx context.Context, client *apiclient.Client, m *fleet.Message) ([]fleet.Transcript, error) {
	answer, err := client.Transcripts(ctx, m.Node, m.ID)
	if err != nil {
		return nil, fmt.Errorf("transcripts of %s on %s: %w", m.ID, m.Node, err)
	}
	return answer.Transcripts, nil
}

// reportFailed names the nodes whose messages can't be among what is shown.
func reportFailed(cmd *cobra.Command, failed []aggregator.Answer) {
	for _, a := range failed {
		fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: node %s did not answer, its messages are missing: %s\n", visible(a.Node), visible(a.Error))
	}
}
