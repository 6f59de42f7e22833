package main

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/advice"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/node"
)

func newCheckConfig() *cobra.Command {
	var daemon string
	var quiet, asJSON bool
	cmd := &cobra.Command{
		Use:   "check-config FILE",
		Short: "Tell whether a daemon would take a configuration file, and what it would run",
		Long: `Tell whether a daemon would take a configuration file, and what it would run.

Of each DKIM key it says whether it signs or what it waits for, by what the daemon has written down of its life; of one that the
daemon doesn't know yet, what it will do with it.

The file's keys tell whose it is, milter's or aggregator's; --daemon says so where they don't. Keys and certificates
that the file names are read, so run this as the user that the daemon runs as. Exit status: 0 good, 2 bad.`,
		Example: "  postfleet check-config /etc/postfleet/milter.yaml && systemctl reload postfleet-milter",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, lines, err := checkConfig(args[0], daemon)
			if err != nil {
				return usageError{err}
			}
			return printCheck(cmd.OutOrStdout(), args[0], kind, lines, quiet, asJSON)
		},
	}
	cmd.Flags().StringVar(&daemon, "daemon", "", "whose file it is: milter or aggregator")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing when the file is good")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// checkConfig gives the kind of a configuration and what its daemon would do.
func checkConfig(path, daemon string) (kind config.Kind, lines []string, err error) {
	if kind, err = config.KindOf(path); err != nil {
		return "", nil, err
	}
	switch kind = cmp.Or(config.Kind(daemon), kind); kind {
	case config.KindMilter:
		c, err := config.LoadMilter(path)
		if err != nil {
			return kind, nil, err
		}
		lines, err = node.Check(c, node.Options{Version: version, Log: zap.NewNop()})
		return kind, lines, err
	case config.KindAggregator:
		c, err := config.LoadAggregator(path)
		if err != nil {
			return kind, nil, err
		}
		lines, err = checkAggregator(c)
		return kind, lines, err
	}
	return kind, nil, fmt.Errorf("--daemon: expected milter or aggregator, not %q", daemon)
}

// checkAggregator reads the certificates and the users, and sums up what the aggregator would do.
func checkAggregator(c *config.Aggregator) ([]string, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	lines, err := checkPages(c)
	if err != nil {
		return nil, err
	}
	book, err := advice.Load(string(c.Advice.Dir))
	if err != nil {
		return nil, err
	}
	lines = append(lines, fmt.Sprintf("advice from %d entries, those of %s among them", book.Len(), c.Advice.Dir))
	s := &aggregatorService{config: c, log: zap.NewNop()}
	host := config.FirstLabel(hostname)
	if s.certificateSource(host) == fromFiles {
		if _, err := s.fileCredentials(host); err != nil {
			return nil, err
		}
		lines = append(lines, "asks nodes with the certificate "+c.Client.CertFile.Expand(host))
	} else {
		lines = append(lines, "asks nodes with a certificate from Consul")
	}
	if c.FromConsul() {
		return append(lines, "members from Consul's service "+c.Consul.APIService), nil
	}
	for _, member := range c.Members.Static {
		lines = append(lines, fmt.Sprintf("member %s at %s", member.Name, member.Address))
	}
	return lines, nil
}

// checkPages looks at what the pages need: a certificate, where there is one, and somebody who can sign in.
func checkPages(c *config.Aggregator) ([]string, error) {
	scheme := "http"
	if c.HTTP.CertFile != "" {
		scheme = "https"
		if _, err := tls.LoadX509KeyPair(string(c.HTTP.CertFile), string(c.HTTP.KeyFile)); err != nil {
			return nil, fmt.Errorf("certificate of the pages: %w", err)
		}
	}
	users, err := accounts.OpenUsers(string(c.Access.UsersFile), func(error) {})
	if err != nil {
		return nil, err
	}
	if users.Len() == 0 {
		return nil, fmt.Errorf("%w: no user in %s; make one with: postfleet user add", aggregator.ErrNoUsers, c.Access.UsersFile)
	}
	people := "users"
	if users.Len() == 1 {
		people = "user"
	}
	return []string{fmt.Sprintf("pages and JSON API on %s://%s for %d %s", scheme, c.HTTP.Listen, users.Len(), people)}, nil
}

func printCheck(out io.Writer, path string, kind config.Kind, lines []string, quiet, asJSON bool) error {
	switch {
	case quiet:
		return nil
	case asJSON:
		return json.NewEncoder(out).Encode(map[string]any{"file": path, "daemon": kind, "runs": lines})
	}
	fmt.Fprintf(out, "%s: good, for postfleet %s\n", path, kind)
	for _, line := range lines {
		if _, err := fmt.Fprintf(out, "  %s\n", visible(line)); err != nil { // some quote DNS
			return err
		}
	}
	return nil
}
