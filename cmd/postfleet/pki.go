package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/pki"
)

const (
	day        = 24 * time.Hour
	caDays     = 3650
	issuedDays = 365
	maxDays    = 36500
)

func newPKI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "A private CA for the certificates between nodes and aggregators",
		Long: `A private CA for the certificates between nodes and aggregators, for sites without Consul.

Keep the CA's directory on one host, best not a mail server; the daemons need only what "pki issue" makes for them.
Whoever holds an aggregator's key can read the mail log of every node.`,
		Example: `  postfleet pki init /root/fleet-ca
  postfleet pki issue --dir /root/fleet-ca --out mx1 node mx1
  postfleet pki issue --dir /root/fleet-ca --out page aggregator page`,
		Args: cobra.ArbitraryArgs,
		RunE: wantsSubcommand,
	}
	cmd.AddCommand(newPKIInit(), newPKIIssue(), newPKIRenew(), newPKIList(), newPKIShow())
	return cmd
}

func newPKIInit() *cobra.Command {
	var name string
	var days int
	cmd := &cobra.Command{
		Use:     "init DIR",
		Short:   "Make a CA",
		Example: "  postfleet pki init /root/fleet-ca",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			valid, err := validity(days)
			if err != nil {
				return err
			}
			if _, err := pki.Init(args[0], name, time.Now(), valid); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The CA is in %s; ca.key is its secret. Next, for every node and aggregator:\n"+
				"  postfleet pki issue --dir %s --out OUT node NAME\n  postfleet pki issue --dir %s --out OUT aggregator NAME\n",
				args[0], args[0], args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "postfleet fleet CA", "name of the CA, for people")
	daysFlag(cmd, &days, caDays)
	return cmd
}

// pkiOutput are the flags of the commands that write certificates.
type pkiOutput struct {
	dir, out string
	days     int
	asJSON   bool
}

func (o *pkiOutput) flags(cmd *cobra.Command) {
	dirFlag(cmd, &o.dir)
	cmd.Flags().StringVar(&o.out, "out", "", "directory for certificate, key and ca.pem (default: the CA's own)")
	daysFlag(cmd, &o.days, issuedDays)
	jsonFlag(cmd, &o.asJSON)
}

// open checks the arguments before it looks at any file.
func (o *pkiOutput) open(args []string) (*pki.Directory, pki.Identity, time.Duration, error) {
	id := pki.Identity{Role: pki.Role(args[0]), Name: args[1]}
	if err := id.Validate(); err != nil {
		return nil, id, 0, usageError{err}
	}
	valid, err := validity(o.days)
	if err != nil {
		return nil, id, 0, err
	}
	dir, err := openCA(o.dir)
	return dir, id, valid, err
}

func (o *pkiOutput) print(w io.Writer, paths pki.Paths, next string) error {
	if o.asJSON {
		return json.NewEncoder(w).Encode(paths)
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n%s\n%s\n", paths.Cert, paths.Key, paths.CA, next)
	return err
}

func newPKIIssue() *cobra.Command {
	var o pkiOutput
	var addresses []string
	cmd := &cobra.Command{
		Use:     "issue node|aggregator NAME",
		Short:   "Make the certificate and key of a node or an aggregator",
		Long:    "Make the certificate and key of a node or an aggregator. NAME is node.name of the node's configuration.",
		Example: "  postfleet pki issue --dir /root/fleet-ca --out mx1 node mx1",
		Args:    exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, id, valid, err := o.open(args)
			if err != nil {
				return err
			}
			paths, err := dir.Issue(pki.Request{Identity: id, Addresses: addresses, Valid: valid}, time.Now(), o.out)
			if err != nil {
				return err
			}
			return o.print(cmd.OutOrStdout(), paths, fmt.Sprintf("Put these into /etc/postfleet/tls on the host of %s, the key "+
				"readable by its daemon and nobody else.", id))
		},
	}
	o.flags(cmd)
	cmd.Flags().StringSliceVar(&addresses, "addr", nil, "host name or IP address to name in it, for other TLS clients; may be repeated")
	return cmd
}

func newPKIRenew() *cobra.Command {
	var o pkiOutput
	cmd := &cobra.Command{
		Use:   "renew node|aggregator NAME",
		Short: "Replace a certificate and its key by new ones",
		Long: `Replace a certificate and its key by new ones, with the addresses of the old one. Where --out is a directory
that has the old files they are replaced in place; a daemon that uses them takes them up by itself.`,
		Example: "  postfleet pki renew --dir /root/fleet-ca --out mx1 node mx1",
		Args:    exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, id, valid, err := o.open(args)
			if err != nil {
				return err
			}
			paths, err := dir.Renew(id, valid, time.Now(), o.out)
			if err != nil {
				return err
			}
			return o.print(cmd.OutOrStdout(), paths, fmt.Sprintf("Replace those of %s by these; its daemon needs no restart.", id))
		},
	}
	o.flags(cmd)
	return cmd
}

// openCA opens the directory of a CA; where there is none it says how to come by one.
func openCA(path string) (*pki.Directory, error) {
	dir, err := pki.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no CA in %s, name its directory with --dir, or make one with postfleet pki init: %w", path, err)
	}
	return dir, err
}

func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "/etc/postfleet/pki", "directory of the CA")
}

func daysFlag(cmd *cobra.Command, days *int, preset int) {
	cmd.Flags().IntVar(days, "days", preset, "how long it is valid")
}

func validity(days int) (time.Duration, error) {
	if days < 1 || days > maxDays {
		return 0, usageError{fmt.Errorf("--days %d: expected 1 to %d", days, maxDays)}
	}
	return time.Duration(days) * day, nil
}
