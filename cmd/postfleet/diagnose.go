package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node"
)

// diagnoseCommand is diagnose of the node on this host, or of the fleet.
type diagnoseCommand struct {
	config  string
	api     apiFlags
	fleet   bool
	run     bool
	local   bool
	list    bool
	verbose bool
	json    bool
}

// errFindings ends a diagnosis that found something that keeps mail from arriving.
var errFindings = errors.New("a check failed")

func newDiagnose() *cobra.Command {
	var c diagnoseCommand
	cmd := &cobra.Command{
		Use:   "diagnose [CHECK…]",
		Short: "Look whether this node, or the fleet, is fit to send mail",
		Long: `Look whether this node, or the fleet, is fit to send mail: names, addresses and their DNS, SPF, DKIM, DMARC, blocklists,
the way out, Postfix's settings, queue, disk and clock. Each check says what was seen and how to mend it. Some or all checks;
--list has their names.

On a node the daemon makes the diagnosis, with all that it knows, and keeps it. Where it doesn't run, or with --local, the
command makes it itself, without what only the daemon knows. With --fleet the aggregator tells what the nodes found last;
with --run they look again first.

Exit status: 0 when no check failed, 1 when one did, 2 for wrong usage or configuration. A check that could not tell is no
failure, and no success either: read what it says.`,
		Example: `  postfleet diagnose
  postfleet diagnose spf spf-fleet dkim-record --verbose
  postfleet diagnose --fleet --run --json
  postfleet diagnose send --node mx1 you@example.org`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, checks []string) error { return c.runE(cmd, checks) },
	}
	c.api.flags(cmd)
	configFlag(cmd, &c.config, milterConfig, "configuration of the node daemon")
	cmd.Flags().BoolVar(&c.fleet, "fleet", false, "ask the aggregator for all nodes")
	cmd.Flags().BoolVar(&c.run, "run", false, "with --fleet: have the nodes look again, and wait for them")
	cmd.Flags().BoolVar(&c.local, "local", false, "don't ask the daemon")
	cmd.Flags().BoolVar(&c.list, "list", false, "print the checks and why they matter")
	cmd.Flags().BoolVarP(&c.verbose, "verbose", "v", false, "with the evidence, also of what is in order")
	jsonFlag(cmd, &c.json)
	cmd.AddCommand(newDiagnoseSend())
	return cmd
}

func (c *diagnoseCommand) runE(cmd *cobra.Command, checks []string) error {
	switch {
	case c.list:
		return listChecks(cmd, c.json)
	case c.run && !c.fleet:
		return usageError{errors.New("--run wants --fleet; on a node the checks are made at once")}
	}
	known := map[string]bool{}
	for _, check := range diagnose.Table {
		known[check.Name] = true
	}
	for _, name := range checks {
		if !known[name] {
			return usageError{fmt.Errorf("no check %q: see %s --list", name, cmd.CommandPath())}
		}
	}
	if c.fleet {
		return c.ofFleet(cmd, checks)
	}
	return c.ofNode(cmd, checks)
}

func listChecks(cmd *cobra.Command, asJSON bool) error {
	for _, check := range diagnose.Table {
		var err error
		if asJSON {
			err = newJSON(cmd.OutOrStdout()).Encode(map[string]string{"check": check.Name, "title": check.Title, "group": string(check.Group), "why": check.Why})
		} else {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%-14s %s\n               %s\n", check.Name, check.Title, check.Why)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *diagnoseCommand) ofNode(cmd *cobra.Command, checks []string) error {
	settings, err := config.LoadMilter(c.config)
	if err != nil {
		return usageError{err}
	}
	done, err := c.byDaemon(cmd, settings, checks)
	if err != nil {
		return err
	}
	if done == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "postfleet: the daemon is not asked; what only it knows is missing")
		o := node.Options{Version: version, Log: zap.NewNop()}
		if done, err = node.DiagnoseHere(cmd.Context(), settings, o, diagnose.RunOptions{Checks: checks}); err != nil {
			return usageError{err}
		}
	}
	if c.json {
		err = newJSON(cmd.OutOrStdout()).Encode(done)
	} else {
		err = newScreen(cmd.OutOrStdout(), os.Getenv).diagnosis(done, checks, c.verbose)
	}
	if err == nil && done.Count(fleet.GradeFail) > 0 {
		err = errFindings
	}
	return err
}

// Times of asking the daemon, which looks for a request every second.
const (
	requestTaken = 5 * time.Second
	requestDone  = 6 * time.Minute
)

// byDaemon has the daemon make the diagnosis; nil: it doesn't answer.
func (c *diagnoseCommand) byDaemon(cmd *cobra.Command, settings *config.Milter, checks []string) (*fleet.Diagnosis, error) {
	if c.local {
		return nil, nil
	}
	dir := string(settings.Repository.Dir)
	request := fleet.DiagnoseRequest{ID: strings.ToLower(rand.Text()), Cause: fleet.CauseHost, By: whoAmI(), Checks: checks}
	if node.RequestDiagnosis(dir, request) != nil {
		return nil, nil
	}
	defer node.WithdrawRequest(dir)
	given := time.NewTimer(requestTaken)
	defer given.Stop()
	ctx, cancel := context.WithTimeout(cmd.Context(), requestDone)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the daemon has not finished: %w", ctx.Err())
		case <-given.C:
			if node.RequestWaits(dir) {
				return nil, nil
			}
		case <-tick.C:
			done, err := node.FindDiagnosis(dir, request.ID)
			if done != nil || err != nil {
				return done, err
			}
		}
	}
}
