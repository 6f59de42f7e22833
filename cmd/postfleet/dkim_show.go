package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

func newDKIMDNS() *cobra.Command {
	var place keyPlace
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "dns [DOMAIN…]",
		Short: "Print the DNS records of this node's keys",
		Long: `Print the DNS records of this node's keys as lines of a zone file. A long text is cut into strings of at most 255
bytes, which DNS puts together again.`,
		Example: "  postfleet dkim dns example.com >>db.example.com\n  postfleet dkim dns --json",
		RunE: func(cmd *cobra.Command, domains []string) error {
			own := place.byConfiguration()
			template, err := place.find(cmd)
			if err != nil {
				return err
			}
			_, keys, err := place.keys(template, domains)
			if err != nil {
				return err
			}
			var later []keyRecord
			if own {
				if later, err = laterRecords(place.config, domains, keys); err != nil {
					return err
				}
			}
			return printRecords(cmd.OutOrStdout(), keys, asJSON, later...)
		},
	}
	place.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// keyRecord is the JSON of a key and its record.
type keyRecord struct {
	Domain    string `json:"domain"`
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"`
	Bits      int    `json:"bits,omitempty"`
	File      string `json:"file,omitempty"` // empty: made by the daemon, which keeps it
	Signing   *bool  `json:"signing,omitempty"`
	Name      string `json:"name"`
	Text      string `json:"text"`
}

func recordOf(k *dkim.Key) keyRecord {
	return keyRecord{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm(), Bits: k.Bits(), File: k.Path,
		Name: k.RecordName(), Text: k.Record()}
}

// laterRecords are those of the keys that the daemon made itself, for a rotation; they don't lie in the keys' directory.
func laterRecords(config string, domains []string, there []*dkim.Key) (list []keyRecord, err error) {
	life, err := openLife(config)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, usageError{err}
	}
	for _, k := range life.Keys().Keys {
		known := slices.ContainsFunc(there, func(file *dkim.Key) bool { return file.RecordName() == k.Name })
		if known || k.Stage == fleet.StageRetired || len(domains) > 0 && !slices.Contains(domains, k.Domain) {
			continue
		}
		list = append(list, keyRecord{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm, Bits: k.Bits, Name: k.Name, Text: k.Text})
	}
	return list, nil
}

func printRecords(out io.Writer, keys []*dkim.Key, asJSON bool, later ...keyRecord) error {
	records := make([]keyRecord, len(keys), len(keys)+len(later))
	for i, key := range keys {
		records[i] = recordOf(key)
	}
	records = append(records, later...)
	if asJSON {
		return json.NewEncoder(out).Encode(records)
	}
	for _, r := range records {
		if _, err := fmt.Fprintf(out, "; %s\n%s\n", cmp.Or(r.File, "made by the daemon"), dkim.ZoneLine(r.Name, r.Text)); err != nil {
			return err
		}
	}
	return nil
}

func newDKIMList() *cobra.Command {
	var place keyPlace
	var f keyOrderFlags
	cmd := &cobra.Command{
		Use:   "list [DOMAIN…]",
		Short: "List keys, where they are in their lives, and which of them sign",
		Long: `List keys, where they are in their lives, and which of them sign: this host's, or with --on or --on-all those of nodes of the
fleet, through an aggregator. With --keys-dir, --selector or --node, and before the daemon has run, the key files are listed as a
daemon without regard for DNS would use them.`,
		Example: "  postfleet dkim list\n  postfleet dkim list --on-all\n" +
			"  postfleet dkim list --keys-dir /etc/postfleet/keys --selector {node} --node mx1 example.com",
		RunE: func(cmd *cobra.Command, domains []string) error {
			if f.remote() {
				return listFleet(cmd, &f)
			}
			place.config = f.config
			if place.byConfiguration() && len(domains) == 0 {
				if keys, err := openLife(f.config); err == nil {
					return printKeys(cmd.OutOrStdout(), []*fleet.NodeKeys{keys.Keys()}, f.json)
				} else if !errors.Is(err, os.ErrNotExist) {
					return usageError{err}
				}
			}
			template, err := place.find(cmd)
			if err != nil {
				return err
			}
			ring, keys, err := place.keys(template, domains)
			if err != nil {
				return err
			}
			return listKeys(cmd.OutOrStdout(), ring, keys, time.Now(), f.json)
		},
	}
	place.keyFlags(cmd)
	f.flags(cmd)
	return cmd
}

func listKeys(out io.Writer, ring *dkim.Keyring, keys []*dkim.Key, now time.Time, asJSON bool) error {
	signing := func(k *dkim.Key) bool { return slices.Contains(ring.Signing(k.Domain, now), k) }
	if asJSON {
		records := make([]keyRecord, len(keys))
		for i, key := range keys {
			records[i] = recordOf(key)
			is := signing(key)
			records[i].Signing = &is
		}
		return json.NewEncoder(out).Encode(records)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DOMAIN\tSELECTOR\tALGORITHM\tBITS\tSIGNS\tFILE")
	for _, key := range keys {
		bits, signs := "-", "no"
		if key.Bits() > 0 {
			bits = fmt.Sprint(key.Bits())
		}
		if signing(key) {
			signs = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", key.Domain, key.Selector, key.Algorithm(), bits, signs, key.Path)
	}
	return table.Flush()
}
