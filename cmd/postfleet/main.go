// Command postfleet is the node daemon, the aggregator and their tools in one binary. Each subcommand is one file here
// and does wiring only.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // bad usage or configuration: systemd is told not to restart on it
)

// usageError marks an error as the caller's: bad flags, arguments or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(stderr, "postfleet: %v\n", err)
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "postfleet",
		Short:         "One view, signatures and conversations for a fleet of Postfix servers",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.AddCommand(
		newAggregator(),
		newCheckConfig(),
		newDKIM(),
		newDiagnose(),
		newDNS(),
		newDrain(),
		newMilter(),
		newNode(),
		newPKI(),
		newReplay(),
		newSetup(),
		newTail(),
		newToken(),
		newTrace(),
		newUndrain(),
		newUser(),
		newVersion(),
	)
	root.AddCommand(atBuild()...)
	wrongArgsAreUsage(root)
	return root
}

// wrongArgsAreUsage makes the argument checks of cmd and its subcommands report wrong usage, cobra's own among them.
func wrongArgsAreUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrongArgsAreUsage(sub)
	}
}
