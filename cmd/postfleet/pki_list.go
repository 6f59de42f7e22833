package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/pki"
)

func newPKIList() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what the CA issued, and when it expires",
		Example: "  postfleet pki list --dir /root/fleet-ca",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opened, err := openCA(dir)
			if err != nil {
				return err
			}
			list, err := opened.List()
			if err != nil {
				return err
			}
			return printCertificates(cmd.OutOrStdout(), list, time.Now(), asJSON)
		},
	}
	dirFlag(cmd, &dir)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newPKIShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show FILE…",
		Short:   "Show whose certificate a file is, and when it expires",
		Example: "  postfleet pki show /etc/postfleet/tls/node.pem",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("expected the certificate files to show")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []pki.Certificate
			for _, file := range args {
				cert, err := pki.Describe(file)
				if err != nil {
					return err
				}
				list = append(list, cert)
			}
			return printCertificates(cmd.OutOrStdout(), list, time.Now(), asJSON)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printCertificates(w io.Writer, list []pki.Certificate, now time.Time, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(list)
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tNAME\tVALID UNTIL\tLEFT\tSERIAL\tADDRESSES\tFILE")
	for _, c := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", orDash(string(c.Role)), visible(c.Name), c.NotAfter.Format(time.RFC3339),
			left(c.NotAfter.Sub(now)), c.Serial, orDash(visible(strings.Join(c.Addresses, ","))), c.File)
	}
	return table.Flush()
}

// left says how long a certificate is still valid.
func left(d time.Duration) string {
	switch {
	case d <= 0:
		return "EXPIRED"
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d/day))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
