package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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
	until      string
	node       string
	limit      int
	transcript bool
	json       bool
}

func newTrace() *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace QUEUE-ID | MESSAGE-ID | SENDER RECIPIENT",
		Short: "Tell what became of a mail, over all nodes that carried it, and what to do next",
		Long: `Tell what became of a mail, over all nodes that carried it, and what to do next: where it came from, its signatures,
every attempt for every recipient, the node that carried it, and advice on what a server said.

It is found by its queue id, its Message-ID, or its envelope sender and recipient (as postfleet's filters have them:
user@domain, @domain, a part of the address, or <> for the null sender; of the last day, unless --since says otherwise).
The newest come first. Where no node has it, the nodes that were asked and what looks like it are told, and the exit
status is 1.`,
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
	cmd.Flags().StringVar(&o.until, "until", "", "first seen before, likewise")
	cmd.Flags().StringVar(&o.node, "node", "", "ask that node alone")
	cmd.Flags().IntVar(&o.limit, "limit", 10, "how many messages")
	cmd.Flags().BoolVarP(&o.transcript, "transcript", "t", false, "with the SMTP conversations, fetched from the node")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object a message")
	return cmd
}

// query is what the arguments and flags ask for.
func (o *traceOptions) query(args []string) (fleet.Query, error) {
	values := map[string][]string{"node": {o.node}, "since": {o.since}, "until": {o.until}, "limit": {fmt.Sprint(o.limit)}}
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

// traced is a mail as --json prints it.
type traced struct {
	fleet.Message
	Verdict     aggregator.TraceVerdict   `json:"verdict"`
	Words       string                    `json:"words"`
	Journey     *aggregator.Journey       `json:"journey"`
	Advice      []aggregator.TracedAdvice `json:"advice"`
	Transcripts []fleet.Transcript        `json:"transcripts,omitempty"` // of all nodes that the mail passed
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
	answer, err := client.Trace(cmd.Context(), q)
	if err != nil {
		return err
	}
	reportUnasked(cmd, answer.Nodes)
	screen := newScreen(cmd.OutOrStdout(), os.Getenv)
	for i := range answer.Mails {
		if err := o.print(cmd, client, screen, &answer.Mails[i]); err != nil {
			return err
		}
	}
	if len(answer.Mails) == 0 {
		if err := o.printNeverSeen(cmd, screen, answer); err != nil {
			return err
		}
		return errors.New("no such message")
	}
	if answer.More {
		fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: there are older ones: --limit or --since reach them\n")
	}
	return nil
}

func (o *traceOptions) print(cmd *cobra.Command, client *apiclient.Client, screen screen, mail *aggregator.TracedMail) error {
	one := traced{Message: mail.Message, Verdict: mail.Verdict, Words: mail.Words, Journey: mail.Journey, Advice: mail.Advice}
	if o.transcript {
		var err error
		if one.Transcripts, err = conversations(cmd.Context(), client, &one); err != nil {
			return err
		}
	}
	if o.json {
		return newJSON(cmd.OutOrStdout()).Encode(one)
	}
	return screen.message(&one)
}

func (o *traceOptions) printNeverSeen(cmd *cobra.Command, screen screen, answer *aggregator.TraceAnswer) error {
	if o.json {
		return newJSON(cmd.OutOrStdout()).Encode(answer)
	}
	return screen.neverSeen(answer)
}

// conversations are those of a mail on the node where it entered the fleet, and on the nodes that carried it.
func conversations(ctx context.Context, client *apiclient.Client, m *traced) (all []fleet.Transcript, err error) {
	type place struct {
		node string
		id   fleet.MessageID
	}
	places := []place{{m.Node, m.ID}}
	for i := range m.Journey.Branches {
		h := m.Journey.Branches[i].Handover
		if h == nil || h.Source != aggregator.FromCarrier || slices.Contains(places, place{h.Carrier, h.ID}) {
			continue
		}
		places = append(places, place{h.Carrier, h.ID})
	}
	for _, at := range places {
		answer, err := client.Transcripts(ctx, at.node, at.id)
		if err != nil {
			return nil, fmt.Errorf("transcripts of %s on %s: %w", at.id, at.node, err)
		}
		all = append(all, answer.Transcripts...)
	}
	return all, nil
}

// reportUnasked names the nodes whose mail can't be among what is shown.
func reportUnasked(cmd *cobra.Command, nodes []aggregator.TracedNode) {
	for _, n := range nodes {
		if n.Error != "" {
			reportFailed(cmd, []aggregator.Answer{{Node: n.Node, Error: n.Error}})
		}
	}
}

// reportFailed names the nodes whose messages can't be among what is shown.
func reportFailed(cmd *cobra.Command, failed []aggregator.Answer) {
	for _, a := range failed {
		fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: node %s did not answer, its messages are missing: %s\n", visible(a.Node), visible(a.Error))
	}
}
