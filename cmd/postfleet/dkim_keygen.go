package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/dkim"
)

func newDKIMKeygen() *cobra.Command {
	var place keyPlace
	var kinds []string
	var bits int
	var from string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keygen DOMAIN…",
		Short: "Make this node's keys for domains and print their DNS records",
		Long: `Make this node's keys for domains and print their DNS records.

Keys are written to KEYS/DOMAIN/SELECTOR.rsa.pem and KEYS/DOMAIN/SELECTOR.ed25519.pem, readable by root and by the group of the
directory KEYS. A key that is there already is left alone. An Ed25519 key is published as SELECTOR-ed25519, since a selector
may have only one record. The node loads the keys on SIGHUP or at its next start, and signs with each once it has seen its record,
unless dkim.require_dns says otherwise.`,
		Example: "  postfleet dkim keygen example.com example.org\n  postfleet dkim keygen --type rsa --bits 3072 example.com",
		RunE: func(cmd *cobra.Command, domains []string) error {
			if len(domains) == 0 {
				return usageError{errors.New("dkim keygen: no domain named")}
			}
			template, err := place.find(cmd)
			if err != nil {
				return err
			}
			day := time.Now()
			if from != "" {
				if day, err = time.Parse(time.DateOnly, from); err != nil {
					return usageError{fmt.Errorf("--from %q: expected a day such as 2026-12-01", from)}
				}
			}
			if bits < dkim.MinBits || bits > 8192 {
				return usageError{fmt.Errorf("--bits %d: expected %d to 8192", bits, dkim.MinBits)}
			}
			for _, kind := range kinds {
				if kind != dkim.RSA && kind != dkim.Ed25519 {
					return usageError{fmt.Errorf("--type %q: expected %s or %s", kind, dkim.RSA, dkim.Ed25519)}
				}
			}
			var keys []*dkim.Key
			for _, domain := range domains {
				for _, kind := range kinds {
					key, err := dkim.Generate(place.keysDir, domain, template.Selector(day), kind, bits)
					if err != nil {
						return errors.Join(err, printRecords(cmd.OutOrStdout(), keys, asJSON))
					}
					keys = append(keys, key)
				}
			}
			return printRecords(cmd.OutOrStdout(), keys, asJSON)
		},
	}
	place.flags(cmd)
	cmd.Flags().StringSliceVar(&kinds, "type", []string{dkim.RSA, dkim.Ed25519}, "types of key to make")
	cmd.Flags().IntVar(&bits, "bits", dkim.MinBits, "size of an RSA key")
	cmd.Flags().StringVar(&from, "from", "", "day from which the key is used, for a selector with {date} (default: today)")
	jsonFlag(cmd, &asJSON)
	return cmd
}
