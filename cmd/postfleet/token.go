package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/config"
)

func newToken() *cobra.Command {
	var file accountsFile
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Manage which programs may use the JSON API",
		Long: `Manage which programs may use the JSON API.

A running aggregator takes every change at once. The file keeps a hash of each token: a token is shown once, when it is
made.`,
		Args: cobra.ArbitraryArgs,
		RunE: wantsSubcommand,
	}
	file.flags(cmd, "tokens")
	tokens := tokenCommands{&file}
	cmd.AddCommand(tokens.add(), tokens.list(), tokens.remove())
	return cmd
}

// tokenCommands are those of the tokens file.
type tokenCommands struct{ file *accountsFile }

// with is the RunE of a command that does something with the tokens.
func (c tokenCommands) with(do func(*cobra.Command, accounts.TokenFile, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		path, err := c.file.find(func(a *config.Access) config.Path { return a.TokensFile })
		if err != nil {
			return err
		}
		return do(cmd, accounts.TokenFile{Path: path}, args)
	}
}

func (c tokenCommands) add() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Make a token and print it",
		Example: "  postfleet token add monitoring >/etc/monitoring/postfleet.token",
		Args:    exactArgs(1),
		RunE: c.with(func(cmd *cobra.Command, tokens accounts.TokenFile, args []string) error {
			as, err := parseRole(role)
			if err != nil {
				return err
			}
			secret, err := tokens.Add(args[0], as, now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		}),
	}
	roleFlag(cmd, &role, accounts.Viewer)
	return cmd
}

func (c tokenCommands) list() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the tokens with their roles",
		Example: "  postfleet token list --json",
		Args:    exactArgs(0),
		RunE: c.with(func(cmd *cobra.Command, tokens accounts.TokenFile, _ []string) error {
			list, err := tokens.List()
			if err != nil {
				return err
			}
			entries := make([]account, len(list))
			for i, token := range list {
				entries[i] = account{Name: token.Name, Role: token.Role, Made: &list[i].Made}
			}
			return printAccounts(cmd, entries, asJSON)
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c tokenCommands) remove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Take a token back, at once",
		Example: "  postfleet token remove monitoring",
		Args:    exactArgs(1),
		RunE: c.with(func(_ *cobra.Command, tokens accounts.TokenFile, args []string) error {
			return tokens.Remove(args[0])
		}),
	}
}
