package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
)

// askDrain asks how far a node is; nil: it takes mail.
type askDrain func(context.Context) (*fleet.Drain, error)

// drainPoll is the pause between two questions.
const drainPoll = 500 * time.Millisecond

// drainReport prints how far a node is, every state once.
type drainReport struct {
	cmd  *cobra.Command
	json bool
	last string
}

func newDrainReport(cmd *cobra.Command, asJSON bool) *drainReport {
	return &drainReport{cmd: cmd, json: asJSON}
}

func (r *drainReport) show(drain *fleet.Drain) error {
	text := "the node takes mail"
	if drain != nil {
		text = drain.Text
	}
	if text == r.last {
		return nil
	}
	r.last = text
	if r.json {
		return newJSON(r.cmd.OutOrStdout()).Encode(nodeapi.Drained{Drain: drain})
	}
	_, err := fmt.Fprintln(r.cmd.OutOrStdout(), visible(text))
	return err
}

// taken waits until the daemon took an order up, for a short while. The error is why it isn't known.
func taken(ctx context.Context, ask askDrain, on bool) (*fleet.Drain, error) {
	ctx, cancel := context.WithTimeout(ctx, noticed)
	defer cancel()
	for {
		drain, err := ask(ctx)
		if err != nil || (drain != nil) == on {
			return drain, err
		}
		if !pauseFor(ctx, drainPoll) {
			return nil, errors.New("it did not take the order up")
		}
	}
}

// waitForDrain shows what is left until nothing is. A node that doesn't answer is asked again: its daemon may be restarting.
func waitForDrain(cmd *cobra.Command, ask askDrain, timeout time.Duration, asJSON bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	report, state, began := newDrainReport(cmd, asJSON), "", now()
	for {
		drain, err := ask(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if told := "the node does not answer: " + err.Error(); told != state {
				fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: %s\n", visible(told))
				state = told
			}
		case drain != nil:
			if err := report.show(drain); err != nil || drain.Safe {
				return err
			}
			state = drain.Text
		case state != "" || now().Sub(began) > noticed:
			return errors.New("somebody has the node take mail again")
		}
		if !pauseFor(ctx, drainPoll) {
			break
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not drained after %s: %s; it goes on draining", timeout, visible(state))
	}
	return fmt.Errorf("no longer waiting: %s; it goes on draining", visible(state))
}

// pauseFor waits; it is false when the context ended.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
