package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
)

func newDKIM() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dkim",
		Short: "Make, list, rotate and retire DKIM keys, and print their DNS records",
		Long: `Make, list, rotate and retire DKIM keys, and print their DNS records. Every node has keys of its own, under a selector of
its own, so that a key never leaves its host. A new key signs once the node has seen its record in DNS.`,
		Args: cobra.ArbitraryArgs,
		RunE: wantsSubcommand,
	}
	cmd.AddCommand(newDKIMKeygen(), newDKIMDNS(), newDKIMList(), newDKIMRotate(), newDKIMWait(), newDKIMActivate(), newDKIMRetire())
	return cmd
}

// keyPlace says where the keys of a node are and what they are called: by flags, else by milter.yaml.
type keyPlace struct {
	config, keysDir, selector, node string
}

func (p *keyPlace) flags(cmd *cobra.Command) {
	configFlag(cmd, &p.config, milterConfig, "configuration that names the keys' directory, the selector and the node")
	p.keyFlags(cmd)
}

// byConfiguration tells whether no flag says which keys are meant.
func (p *keyPlace) byConfiguration() bool { return p.keysDir == "" && p.selector == "" && p.node == "" }

func (p *keyPlace) keyFlags(cmd *cobra.Command) {
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
