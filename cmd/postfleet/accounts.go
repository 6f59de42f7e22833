package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/config"
)

// accountsFile says which users or tokens file a command works on: the one given, or that of the configuration.
type accountsFile struct {
	path   string
	config string
}

func (f *accountsFile) flags(cmd *cobra.Command, what string) {
	cmd.PersistentFlags().StringVar(&f.path, "file", "", what+" file (default: that of the configuration)")
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", aggregatorConfig, "configuration of the aggregator")
}

// find is the path. A configuration that isn't there, on a host that only prepares the file, means the defaults.
func (f *accountsFile) find(of func(*config.Access) config.Path) (string, error) {
	if f.path != "" {
		return f.path, nil
	}
	access, err := config.LoadAccess(f.config)
	if errors.Is(err, fs.ErrNotExist) {
		defaults := config.DefaultAggregator()
		access, err = &defaults.Access, nil
	}
	if err != nil {
		return "", usageError{err}
	}
	path := of(access)
	if path == "" {
		return "", usageError{fmt.Errorf("%s names no such file: give one with --file", f.config)}
	}
	return string(path), nil
}

// account is a user or a token as list prints it.
type account struct {
	Name string        `json:"name"`
	Role accounts.Role `json:"role"`
	Made *time.Time    `json:"made,omitempty"` // of tokens
}

func printAccounts(cmd *cobra.Command, list []account, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	for _, one := range list {
		fmt.Fprintf(table, "%s\t%s", one.Name, one.Role)
		if one.Made != nil {
			fmt.Fprintf(table, "\t%s", one.Made.Format(time.DateTime))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

func roleFlag(cmd *cobra.Command, role *string, fallback accounts.Role) {
	cmd.Flags().StringVar(role, "role", fallback.String(), "role: viewer, operator or admin")
}

func parseRole(name string) (accounts.Role, error) {
	role, err := accounts.ParseRole(name)
	if err != nil {
		return role, usageError{err}
	}
	return role, nil
}

// newPassword asks twice on a terminal, and takes the first line of standard input otherwise. It is never an argument:
// those are seen by every user of the host.
func newPassword(cmd *cobra.Command, name string) (string, error) {
	file, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), accounts.MaxPassword+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	first, err := prompt(cmd, file, fmt.Sprintf("Password for %s (%d characters or more): ", name, accounts.MinPassword))
	if err != nil {
		return "", err
	}
	if err := accounts.CheckPassword(first); err != nil {
		return "", err
	}
	again, err := prompt(cmd, file, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

func prompt(cmd *cobra.Command, terminal *os.File, text string) (string, error) {
	fmt.Fprint(cmd.ErrOrStderr(), text)
	typed, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(typed), nil
}
