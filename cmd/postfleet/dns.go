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
	"github.com/postfleet/postfleet/internal/dnspublish"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node"
)

// dnsOptions are the flags of dns.
type dnsOptions struct {
	api                    apiFlags
	config                 string
	zone, json, script     bool
	apply, dryRun, keepOld bool
}

func newDNS() *cobra.Command {
	var o dnsOptions
	cmd := &cobra.Command{
		Use:   "dns [DOMAIN…]",
		Short: "Show every DNS record that the fleet needs, and whether it is there; publish them",
		Long: `Show every DNS record that the fleet needs, and whether it is there: the keys of all nodes, SPF with every node's addresses,
DMARC, PTR for each address, and MTA-STS and TLS-RPT as advice. The aggregator asks the nodes and DNS.

--apply puts the missing ones into the zone by dynamic update (RFC 2136), to the server and with the TSIG key that the section
dns.update of the configuration names: DKIM records, an SPF record with the addresses that lack, DMARC where there is none. What is
there stays: an SPF record is added to, and a name at which something else stands is left alone. Only the records of retired keys
are taken out when they may go, unless --keep-old or dns.update.remove says otherwise. --dry-run shows the changes first.`,
		Example: "  postfleet dns\n  postfleet dns --zone example.com\n  postfleet dns --nsupdate | nsupdate -k /etc/postfleet/dns.key\n" +
			"  postfleet dns --apply --dry-run",
		RunE: func(cmd *cobra.Command, domains []string) error { return runDNS(cmd, &o, domains) },
	}
	o.api.flags(cmd)
	configFlag(cmd, &o.config, aggregatorConfig, "configuration whose section dns.update says where to, for --apply")
	cmd.Flags().BoolVar(&o.zone, "zone", false, "as lines of a zone file")
	cmd.Flags().BoolVar(&o.script, "nsupdate", false, "as a script for nsupdate")
	cmd.Flags().BoolVar(&o.apply, "apply", false, "publish what is missing")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "with --apply: show what would change, and change nothing")
	cmd.Flags().BoolVar(&o.keepOld, "keep-old", false, "with --apply: leave the records of retired keys where they are")
	jsonFlag(cmd, &o.json)
	return cmd
}

func runDNS(cmd *cobra.Command, o *dnsOptions, domains []string) error {
	switch {
	case o.dryRun && !o.apply:
		return usageError{errors.New("--dry-run goes with --apply")}
	case o.zone && o.script, o.zone && o.json, o.script && o.json:
		return usageError{errors.New("--zone, --nsupdate and --json exclude each other")}
	}
	var updater *dnspublish.Updater
	remove := false
	if o.apply {
		var err error
		if updater, remove, err = o.updater(); err != nil {
			return usageError{err}
		}
	}
	client, err := o.api.client(os.Getenv)
	if err != nil {
		return err
	}
	defer client.Close()
	plan, err := client.DNS(cmd.Context())
	if err != nil {
		return err
	}
	if err := restrict(plan, domains); err != nil {
		return err
	}
	if o.apply {
		return applyDNS(cmd, o, updater, plan, remove)
	}
	text, err := dnspublish.Format(plan, o.format())
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}

func (o *dnsOptions) format() string {
	switch {
	case o.zone:
		return dnspublish.FormatZone
	case o.script:
		return dnspublish.FormatNSUpdate
	case o.json:
		return dnspublish.FormatJSON
	}
	return dnspublish.FormatText
}

// updater is what the configuration says, of a node or of an aggregator.
func (o *dnsOptions) updater() (*dnspublish.Updater, bool, error) {
	kind, err := config.KindOf(o.config)
	if err != nil {
		return nil, false, err
	}
	var section config.DNS
	if kind == config.KindMilter {
		c, err := config.LoadMilter(o.config)
		if err != nil {
			return nil, false, err
		}
		section = c.DNS
	} else {
		c, err := config.LoadAggregator(o.config)
		if err != nil {
			return nil, false, err
		}
		section = c.DNS
	}
	updater, err := node.UpdaterOf(&section, nil)
	if err == nil && updater == nil {
		err = fmt.Errorf("%s names no dns.update.server", o.config)
	}
	return updater, section.Update.Remove && !o.keepOld, err
}

// restrict leaves some domains of a plan.
func restrict(plan *fleet.DNSPlan, domains []string) error {
	if len(domains) == 0 {
		return nil
	}
	wanted := func(domain string) bool {
		return slices.ContainsFunc(domains, func(one string) bool { return strings.EqualFold(one, domain) })
	}
	for _, domain := range domains {
		if !slices.Contains(plan.Domains, strings.ToLower(domain)) {
			return fmt.Errorf("no node has a key for %s", domain)
		}
	}
	plan.Domains = slices.DeleteFunc(plan.Domains, func(d string) bool { return !wanted(d) })
	plan.Records = slices.DeleteFunc(plan.Records, func(r fleet.DNSRecord) bool { return !wanted(r.Domain) })
	plan.SPF = slices.DeleteFunc(plan.SPF, func(s fleet.SPFPlan) bool { return !wanted(s.Domain) })
	return nil
}

func applyDNS(cmd *cobra.Command, o *dnsOptions, updater *dnspublish.Updater, plan *fleet.DNSPlan, remove bool) error {
	for _, problem := range plan.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), "! "+problem)
	}
	prepared, err := updater.Prepare(cmd.Context(), plan, remove, dkim.CompareRecord)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(cmd.OutOrStdout(), prepared.Diff()); err != nil {
		return err
	}
	if o.dryRun || len(prepared.Zones) == 0 {
		return nil
	}
	return updater.Commit(cmd.Context(), prepared)
}
