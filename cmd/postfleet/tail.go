package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/fleet"
)

// now is the clock of the commands.
func now() time.Time { return time.Now() }

// tailFilters are the flags of tail that become parameters of the query, with their help.
var tailFilters = [][2]string{
	{"view", "good, queue, bounced, rejected or all"},
	{"node", "messages of that node"},
	{"sender", "user@domain, @domain, a part of the address, or <> for the null sender"},
	{"recipient", "user@domain, @domain or a part of the address of a recipient"},
	{"domain", "domain of a recipient"},
	{"subject", "words in the subject"},
	{"client", "client's IP address or host name"},
	{"user", "authenticated user"},
	{"status", "fate of a recipient, such as deferred"},
	{"relay", "host name or IP address that an attempt went to"},
	{"carrier", "node that another one handed the mail to, or * for any"},
	{"tls", "yes or no: delivered to another host with TLS, or in clear"},
	{"reason", "why a recipient was refused, in the words of the overview"},
	{"signed", "yes, no or a signing domain"},
}

func newTail() *cobra.Command {
	var api apiFlags
	var asJSON bool
	values := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show messages as they change, live, of the whole fleet",
		Long: `Show messages as they change, live, of the whole fleet. Every change of a message is one line, until you stop it.

A connection that breaks is made again; what happened in between is not shown. Nodes whose changes were missed are named
on standard error.`,
		Example: "  postfleet tail --status deferred --domain example.com",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			parameters := url.Values{}
			for name, value := range values {
				parameters.Set(name, *value)
			}
			q, err := fleet.ParseQuery(parameters, now())
			if err != nil {
				return usageError{err}
			}
			return tail(cmd, &api, q, asJSON)
		},
	}
	api.flags(cmd)
	for _, filter := range tailFilters {
		values[filter[0]] = cmd.Flags().String(filter[0], "", filter[1])
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a change")
	return cmd
}

// Pauses before a broken connection is made again.
const (
	tailPatience    = time.Second
	tailMaxPatience = 30 * time.Second
)

func tail(cmd *cobra.Command, api *apiFlags, q fleet.Query, asJSON bool) error {
	client, err := api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var unprinted error
	screen := newScreen(cmd.OutOrStdout(), os.Getenv)
	show := func(change *fleet.Change) {
		if change.Gap != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: changes of node %s were missed\n", visible(change.Gap))
			return
		}
		if asJSON {
			unprinted = newJSON(cmd.OutOrStdout()).Encode(change.Message)
		} else {
			_, unprinted = fmt.Fprintln(cmd.OutOrStdout(), screen.changed(&change.Message))
		}
		if unprinted != nil {
			cancel()
		}
	}
	wait := tailPatience
	for {
		began := now()
		err := client.Events(ctx, q, show)
		if ctx.Err() != nil { // also when whoever reads the output went away
			return unprinted
		}
		if refused(err) {
			return err
		}
		if now().Sub(began) > tailMaxPatience {
			wait = tailPatience
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: %s; again in %v\n", visible(err.Error()), wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, tailMaxPatience)
	}
}

// refused tells an error that asking again doesn't cure.
func refused(err error) bool {
	var own *fleet.Error
	return errors.As(err, &own) && own.Code != fleet.CodeUnavailable && own.Code != fleet.CodeInternal
}

// changed is a message in one line.
func (s screen) changed(m *fleet.Message) string {
	id, sender := m.QueueID, m.Sender
	if id == "" {
		id = "-"
	}
	if sender == "" {
		sender = "<>"
	}
	var to []string
	reply := m.Reply
	for i := range m.Recipients {
		if i < 3 {
			to = append(to, m.Recipients[i].Address)
		}
		if r := &m.Recipients[i]; r.Status != fleet.StatusDelivered && r.Reply != "" {
			reply = r.Reply
		}
	}
	if more := max(len(m.Recipients), m.RecipientCount) - len(to); more > 0 && len(to) > 0 {
		to = append(to, fmt.Sprintf("%d more", more))
	}
	line := fmt.Sprintf("%s %s %s %s %s -> %s", m.LastChange.Local().Format("15:04:05"), visible(m.Node), visible(id),
		s.fate(string(m.Fate())), visible(sender), visible(strings.Join(to, ", ")))
	if m.Fate() != fleet.FateDelivered && reply != "" {
		line += "  " + s.paint(dim, visible(reply))
	}
	return line
}
