package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

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
	cmd.AddCommand(newUserAdd(&file), newUserList(&file), newUserPasswd(&file), newUserRole(&file), newUserRemove(&file))
	return cmd
}

func (f *accountsFile) users() (accounts.UserFile, error) {
	path, err := f.find(func(a *config.Access) config.Path { return a.UsersFile })
	return accounts.UserFile{Path: path}, err
}

func newUserAdd(file *accountsFile) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Make a user",
		Example: "  postfleet user add --role admin alice",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			as, err := parseRole(role)
			if err != nil {
				return err
			}
			users, err := file.users()
			if err != nil {
				return err
			}
			password, err := newPassword(cmd, args[0])
			if err != nil {
				return err
			}
			return users.Add(args[0], as, password)
		},
	}
	roleFlag(cmd, &role, accounts.Viewer)
	return cmd
}

func newUserList(file *accountsFile) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the users with their roles",
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			users, err := file.users()
			if err != nil {
				return err
			}
			list, err := users.List()
			if err != nil {
				return err
			}
			if asJSON {
				type entry struct {
					Name string        `json:"name"`
					Role accounts.Role `json:"role"`
				}
				entries := []entry{}
				for _, user := range list {
					entries = append(entries, entry{user.Name, user.Role})
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(entries)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, user := range list {
				fmt.Fprintf(table, "%s\t%s\n", user.Name, user.Role)
			}
			return table.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newUserPasswd(file *accountsFile) *cobra.Command {
	return &cobra.Command{
		Use:   "passwd NAME",
		Short: "Change a user's password, which ends their sessions",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			users, err := file.users()
			if err != nil {
				return err
			}
			password, err := newPassword(cmd, args[0])
			if err != nil {
				return err
			}
			return users.SetPassword(args[0], password)
		},
	}
}

func newUserRole(file *accountsFile) *cobra.Command {
	return &cobra.Command{
		Use:   "role NAME ROLE",
		Short: "Change a user's role: viewer, operator or admin",
		Args:  exactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			role, err := parseRole(args[1])
			if err != nil {
				return err
			}
			users, err := file.users()
			if err != nil {
				return err
			}
			return users.SetRole(args[0], role)
		},
	}
}

func newUserRemove(file *accountsFile) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a user, which ends their sessions",
		Args:  exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			users, err := file.users()
			if err != nil {
				return err
			}
			return users.Remove(args[0])
		},
	}
}
