package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// exactArgs wants so many arguments; another number is wrong usage.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			word := "arguments"
			if n == 1 {
				word = "argument"
			}
			return usageError{fmt.Errorf("expected %d %s, not %d: %s", n, word, len(args), cmd.UseLine())}
		}
		return nil
	}
}

// configFlag is the flag of every command that reads a daemon's configuration; text says whose it is.
func configFlag(cmd *cobra.Command, path *string, preset, text string) {
	cmd.Flags().StringVarP(path, "config", "c", preset, text)
}

// jsonFlag is the flag of every command that can print what it found as one JSON value.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}

// wantsSubcommand is the RunE of a command that only holds others.
func wantsSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s has no command %q (see %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	if err := cmd.Help(); err != nil {
		return err
	}
	return usageError{errors.New("expected one of the commands above")}
}
