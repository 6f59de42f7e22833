package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
)

func newDKIM() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dkim",
		Short: "Make this node's DKIM keys and print their DNS records",
		Long: `Make this node's DKIM keys and print their DNS records. Every node has keys of its own, under a selector of its own,
so that a key never leaves its host.`,
		Args: cobra.ArbitraryArgs,
		RunE: wantsSubcommand,
	}
	cmd.AddCommand(newDKIMKeygen(), newDKIMDNS(), newDKIMList())
	return cmd
}

// keyPlace says where the keys of a node are and what they are called: by flags, else by milter.yaml.
type keyPlace struct {
	config, keysDir, selector, node string
}

func (p *keyPlace) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.config, "config", milterConfig, "configuration that names the keys' directory, the selector and the node")
	cmd.Flags().StringVar(&p.keysDir, "keys-dir", "", "directory of the keys (default: dkim.keys_dir)")
	cmd.Flags().StringVar(&p.selector, "selector", "", "selector, in which {node} and {date} may stand (default: dkim.selector)")
	cmd.Flags().StringVar(&p.node, "node", "", "name of the node (default: node.name)")
}

// find completes what no flag gave and reads the selector.
func (p *keyPlace) find(cmd *cobra.Command) (dkim.Template, error) {
	if p.keysDir == "" || p.selector == "" || p.node == "" && strings.Contains(p.selector, "{node}") {
		if err := p.configured(cmd.Flags().Changed("config")); err != nil {
			return dkim.Template{}, usageError{err}
		}
	}
	template, err := dkim.ParseTemplate(p.selector, p.node)
	if err != nil {
		return dkim.Template{}, usageError{err}
	}
	return template, nil
}

func (p *keyPlace) configured(named bool) error {
	c, err := config.LoadMilter(p.config)
	if errors.Is(err, os.ErrNotExist) && !named {
		defaults := config.DefaultMilter()
		c, err = &defaults, nil
	}
	if err != nil {
		return err
	}
	if p.keysDir == "" {
		p.keysDir = c.DKIM.KeysDir.String()
	}
	if p.selector == "" {
		p.selector = c.DKIM.Selector
	}
	if p.node != "" {
		return nil
	}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	p.node, err = c.NodeName(hostname)
	return err
}

// keys are the node's keys for some domains, or for all.
func (p *keyPlace) keys(template dkim.Template, domains []string) (*dkim.Keyring, []*dkim.Key, error) {
	ring, err := dkim.LoadKeys(p.keysDir, template)
	if err != nil {
		return nil, nil, err
	}
	keys := ring.Keys()
	if len(domains) == 0 {
		return ring, keys, nil
	}
	for _, domain := range domains {
		if !ring.Has(strings.ToLower(domain)) {
			return nil, nil, fmt.Errorf("no key of this node for %s in %s", domain, p.keysDir)
		}
	}
	keys = slices.DeleteFunc(keys, func(k *dkim.Key) bool {
		return !slices.ContainsFunc(domains, func(domain string) bool { return strings.EqualFold(domain, k.Domain) })
	})
	return ring, keys, nil
}

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
may have only one record. Publish the records before the node loads the keys (on SIGHUP or at its next start).`,
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
			template, err := place.find(cmd)
			if err != nil {
				return err
			}
			_, keys, err := place.keys(template, domains)
			if err != nil {
				return err
			}
			return printRecords(cmd.OutOrStdout(), keys, asJSON)
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
	File      string `json:"file"`
	Signing   *bool  `json:"signing,omitempty"`
	Name      string `json:"name"`
	Text      string `json:"text"`
}

func recordOf(k *dkim.Key) keyRecord {
	return keyRecord{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm(), Bits: k.Bits(), File: k.Path,
		Name: k.RecordName(), Text: k.Record()}
}

func printRecords(out io.Writer, keys []*dkim.Key, asJSON bool) error {
	if asJSON {
		records := make([]keyRecord, len(keys))
		for i, key := range keys {
			records[i] = recordOf(key)
		}
		return json.NewEncoder(out).Encode(records)
	}
	for _, key := range keys {
		if _, err := fmt.Fprintf(out, "; %s\n%s\n", key.Path, key.ZoneRecord()); err != nil {
			return err
		}
	}
	return nil
}

func newDKIMList() *cobra.Command {
	var place keyPlace
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list [DOMAIN…]",
		Short:   "List this node's keys and which of them sign",
		Example: "  postfleet dkim list\n  postfleet dkim list --keys-dir /etc/postfleet/keys --selector {node} --node mx1 example.com",
		RunE: func(cmd *cobra.Command, domains []string) error {
			template, err := place.find(cmd)
			if err != nil {
				return err
			}
			ring, keys, err := place.keys(template, domains)
			if err != nil {
				return err
			}
			return listKeys(cmd.OutOrStdout(), ring, keys, time.Now(), asJSON)
		},
	}
	place.flags(cmd)
	jsonFlag(cmd, &asJSON)
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
