package main

import (
	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/config"
)

func newUser() *cobra.Command {
	var file accountsFile
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage who may sign in to the aggregator",
		Long: `Manage who may sign in to the aggregator.

A running aggregator takes every change at once: a new password, and removing a user, end their sessions.
Passwords are asked for on the terminal, or read from the first line of standard input.`,
		Args: cobra.ArbitraryArgs,
		RunE: wantsSubcommand,
	}
	file.flags(cmd, "users")
	users := userCommands{&file}
	cmd.AddCommand(users.add(), users.list(), users.passwd(), users.role(), users.remove())
	return cmd
}

// userCommands are those of the users file.
type userCommands struct{ file *accountsFile }

// with is the RunE of a command that does something with the users.
func (c userCommands) with(do func(*cobra.Command, accounts.UserFile, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		path, err := c.file.find(func(a *config.Access) config.Path { return a.UsersFile })
		if err != nil {
			return err
		}
		return do(cmd, accounts.UserFile{Path: path}, args)
	}
}

func (c userCommands) add() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Make a user",
		Example: "  postfleet user add --role admin alice\n  pwgen 20 1 | postfleet user add robert",
		Args:    exactArgs(1),
		RunE: c.with(func(cmd *cobra.Command, users accounts.UserFile, args []string) error {
			as, err := parseRole(role)
			if err != nil {
				return err
			}
			password, err := newPassword(cmd, args[0])
			if err != nil {
				return err
			}
			return users.Add(args[0], as, password)
		}),
	}
	roleFlag(cmd, &role, accounts.Viewer)
	return cmd
}

func (c userCommands) list() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users with their roles",
		Example: "  postfleet user list\n  postfleet user list --json | jq -r '.[] | select(.role == \"admin\") | .name'",
		Args:    exactArgs(0),
		RunE: c.with(func(cmd *cobra.Command, users accounts.UserFile, _ []string) error {
			list, err := users.List()
			if err != nil {
				return err
			}
			entries := make([]account, len(list))
			for i, user := range list {
				entries[i] = account{Name: user.Name, Role: user.Role}
			}
			return printAccounts(cmd, entries, asJSON)
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c userCommands) passwd() *cobra.Command {
	return &cobra.Command{
		Use:     "passwd NAME",
		Short:   "Change a user's password, which ends their sessions",
		Example: "  postfleet user passwd alice",
		Args:    exactArgs(1),
		RunE: c.with(func(cmd *cobra.Command, users accounts.UserFile, args []string) error {
			password, err := newPassword(cmd, args[0])
			if err != nil {
				return err
			}
			return users.SetPassword(args[0], password)
		}),
	}
}

func (c userCommands) role() *cobra.Command {
	return &cobra.Command{
		Use:     "role NAME ROLE",
		Short:   "Change a user's role: viewer, operator or admin",
		Example: "  postfleet user role alice operator",
		Args:    exactArgs(2),
		RunE: c.with(func(_ *cobra.Command, users accounts.UserFile, args []string) error {
			role, err := parseRole(args[1])
			if err != nil {
				return err
			}
			return users.SetRole(args[0], role)
		}),
	}
}

func (c userCommands) remove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a user, which ends their sessions",
		Example: "  postfleet user remove alice",
		Args:    exactArgs(1),
		RunE: c.with(func(_ *cobra.Command, users accounts.UserFile, args []string) error {
			return users.Remove(args[0])
		}),
	}
}
