package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node"
)

// drainCommand is drain or undrain of the node on this host.
type drainCommand struct {
	config  string
	reason  string
	wait    bool
	timeout time.Duration
	json    bool
}

func newDrain() *cobra.Command {
	var c drainCommand
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Take this node out of service: no new mail, until it is safe to reboot",
		Long: `Take this node out of service: it leaves the mail service's DNS, HAProxy and those that carry other nodes' mail, serves
who still comes, and finishes its queue. That lasts until postfleet undrain, over a restart too.

With --wait the command shows what is left until nothing is, and ends with status 0 when the host may be rebooted, with 1
when --timeout ends before.`,
		Example: `  postfleet drain --reason kernel --wait --timeout 30m && systemctl reboot
  postfleet drain --json`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.drain(cmd) },
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, for whoever sees it on the page")
	cmd.Flags().BoolVar(&c.wait, "wait", false, "wait until nothing is left")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 0, "with --wait: give up after this time; 0: never")
	return cmd
}

func newUndrain() *cobra.Command {
	var c drainCommand
	cmd := &cobra.Command{
		Use:     "undrain",
		Short:   "Have this node take mail again",
		Example: "  postfleet undrain",
		Args:    exactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.undrain(cmd) },
	}
	c.flags(cmd)
	return cmd
}

func (c *drainCommand) flags(cmd *cobra.Command) {
	configFlag(cmd, &c.config, milterConfig, "configuration of the node daemon")
	cmd.Flags().BoolVar(&c.json, "json", false, "print how far it is as JSON, one object for each change")
}

// noticed is how long the daemon has to take up an order, which it looks for every second.
const noticed = 5 * time.Second

func (c *drainCommand) drain(cmd *cobra.Command) error {
	settings, err := config.LoadMilter(c.config)
	if err != nil {
		return usageError{err}
	}
	if c.timeout < 0 || c.timeout > 0 && !c.wait {
		return usageError{errors.New("--timeout goes with --wait, and is a time above 0")}
	}
	if c.wait && settings.Status.Listen == "" {
		return usageError{errors.New("--wait asks the node daemon at status.listen, which is empty")}
	}
	order := fleet.DrainOrder{On: true, By: whoAmI(), Reason: c.reason}
	if err := node.WriteDrain(string(settings.Repository.Dir), order, now()); err != nil {
		return err
	}
	ask := localDrain(settings)
	if c.wait {
		return waitForDrain(cmd, ask, c.timeout, c.json)
	}
	drain, err := taken(cmd.Context(), ask, true)
	if err != nil {
		return unheard(cmd, err, "it drains as soon as it runs")
	}
	return newDrainReport(cmd, c.json).show(drain)
}

func (c *drainCommand) undrain(cmd *cobra.Command) error {
	settings, err := config.LoadMilter(c.config)
	if err != nil {
		return usageError{err}
	}
	if err := node.WriteDrain(string(settings.Repository.Dir), fleet.DrainOrder{}, now()); err != nil {
		return err
	}
	drain, err := taken(cmd.Context(), localDrain(settings), false)
	if err != nil {
		return unheard(cmd, err, "it takes mail as soon as it runs")
	}
	return newDrainReport(cmd, c.json).show(drain)
}

// unheard tells that the order stands although the daemon doesn't answer. That is no failure of the command.
func unheard(cmd *cobra.Command, err error, then string) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "postfleet: the node daemon does not answer: %s; %s\n", visible(err.Error()), then)
	return nil
}

// localDrain asks the daemon of this host how far it is.
func localDrain(c *config.Milter) askDrain {
	if c.Status.Listen == "" {
		return func(context.Context) (*fleet.Drain, error) { return nil, errors.New("status.listen is empty") }
	}
	host, port, err := net.SplitHostPort(string(c.Status.Listen))
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return func(ctx context.Context) (*fleet.Drain, error) {
		if err != nil {
			return nil, err
		}
		return node.AskDrain(ctx, net.JoinHostPort(host, port))
	}
}

// who is the person at the keyboard, for those who see later what was done.
func who() string {
	name := os.Getenv("SUDO_USER")
	if me, err := user.Current(); err == nil {
		name = cmp.Or(name, me.Username)
	}
	return cmp.Or(name, "command line")
}

// whoAmI is who for those who see it on another host.
func whoAmI() string {
	host, err := os.Hostname()
	if err != nil {
		return who()
	}
	return who() + " on " + host
}
