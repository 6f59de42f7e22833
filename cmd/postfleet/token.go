package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

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
	cmd.AddCommand(newTokenAdd(&file), newTokenList(&file), newTokenRemove(&file))
	return cmd
}

func (f *accountsFile) tokens() (accounts.TokenFile, error) {
	path, err := f.find(func(a *config.Access) config.Path { return a.TokensFile })
	return accounts.TokenFile{Path: path}, err
}

func newTokenAdd(file *accountsFile) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Make a token and print it",
		Example: "  postfleet token add monitoring >/etc/monitoring/postfleet.token",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			as, err := parseRole(role)
			if err != nil {
				return err
			}
			tokens, err := file.tokens()
			if err != nil {
				return err
			}
			secret, err := tokens.Add(args[0], as, time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		},
	}
	roleFlag(cmd, &role, accounts.Viewer)
	return cmd
}

func newTokenList(file *accountsFile) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens with their roles",
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			tokens, err := file.tokens()
			if err != nil {
				return err
			}
			list, err := tokens.List()
			if err != nil {
				return err
			}
			if asJSON {
				type entry struct {
					Name string        `json:"name"`
					Role accounts.Role `json:"role"`
					Made time.Time     `json:"made"`
				}
				entries := []entry{}
				for _, token := range list {
					entries = append(entries, entry{token.Name, token.Role, token.Made})
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(entries)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, token := range list {
				fmt.Fprintf(table, "%s\t%s\t%s\n", token.Name, token.Role, token.Made.Format(time.DateTime))
			}
			return table.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newTokenRemove(file *accountsFile) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a token back, at once",
		Args:  exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			tokens, err := file.tokens()
			if err != nil {
				return err
			}
			return tokens.Remove(args[0])
		},
	}
}
