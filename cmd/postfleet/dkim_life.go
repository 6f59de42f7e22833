package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node"
)

// keyOrderFlags say whose keys a command is about: this host's, or those of nodes of the fleet through an aggregator.
type keyOrderFlags struct {
	config   string
	api      apiFlags
	nodes    []string
	allNodes bool
	force    bool
	json     bool
}

func (f *keyOrderFlags) flags(cmd *cobra.Command) {
	configFlag(cmd, &f.config, milterConfig, "configuration of this host's node")
	cmd.Flags().StringSliceVar(&f.nodes, "on", nil, "nodes of the fleet, through an aggregator, instead of this host")
	cmd.Flags().BoolVar(&f.allNodes, "on-all", false, "all nodes of the fleet, through an aggregator")
	f.api.flags(cmd)
	jsonFlag(cmd, &f.json)
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if f.allNodes && len(f.nodes) > 0 {
			return usageError{errors.New("--on and --on-all exclude each other")}
		}
		return nil
	}
}

func (f *keyOrderFlags) remote() bool { return f.allNodes || len(f.nodes) > 0 }

func newDKIMRotate() *cobra.Command {
	var f keyOrderFlags
	var oneByOne bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "rotate [DOMAIN…]",
		Short: "Make the next keys of domains, or of all; each signs once its record is seen",
		Long: `Make the next keys of domains, or of all domains that have one. The old keys sign until the records of the new ones are seen,
then retire; their records must stay for dkim.rotation.keep_old. The daemon need not run: it goes on when it does.

With --on or --on-all an aggregator orders it of nodes of the fleet; --one-by-one waits for each node's new keys to sign before the
next node begins, and stops where that takes longer than --wait.`,
		Example: "  postfleet dkim rotate example.com\n  postfleet dkim rotate --on-all --one-by-one --wait 1h",
		RunE: func(cmd *cobra.Command, domains []string) error {
			switch {
			case f.remote() && oneByOne:
				return rotateOneByOne(cmd, &f, domains, wait)
			case f.remote():
				return rotateFleet(cmd, &f, domains)
			case oneByOne:
				return usageError{errors.New("--one-by-one goes with --on or --on-all")}
			}
			return f.local(cmd, func(l *life.Life) error {
				if len(domains) == 0 {
					domains = l.RotatableDomains()
				}
				for _, domain := range domains {
					if err := l.Rotate(domain, who()); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&oneByOne, "one-by-one", false, "wait for each node before the next one begins")
	cmd.Flags().DurationVar(&wait, "wait", time.Hour, "with --one-by-one: how long a node may take")
	return cmd
}

func newDKIMActivate() *cobra.Command {
	return keyOrderCommand(&cobra.Command{
		Use:   "activate DOMAIN SELECTOR",
		Short: "Sign with a key that waits, or again with one that is retiring",
		Long: `Sign with a key that waits, together with the other key of its generation, or again with one that is retiring. The keys that
signed before retire. The record must have been seen; --force does without, and is written down.`,
		Example: "  postfleet dkim activate example.com mx1-202611a",
	}, fleet.KeyActivate, "sign although its record was not seen")
}

func newDKIMRetire() *cobra.Command {
	return keyOrderCommand(&cobra.Command{
		Use:   "retire DOMAIN SELECTOR",
		Short: "Sign no more with a key, or call off one that waits",
		Long: `Sign no more with a key, or call off one that waits. The record of a key that signed must stay for dkim.rotation.keep_old.
The last key of a domain stays, unless forced.`,
		Example: "  postfleet dkim retire example.com mx1",
	}, fleet.KeyRetire, "retire it even if it is the last key of the domain")
}

func keyOrderCommand(cmd *cobra.Command, verb fleet.KeyVerb, force string) *cobra.Command {
	var f keyOrderFlags
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 2 {
			return usageError{fmt.Errorf("dkim %s: expected a domain and a selector", verb)}
		}
		domain, selector := args[0], args[1]
		if f.remote() {
			return orderFleet(cmd, &f, aggregator.KeyChange{Verb: verb, Domain: domain, Selector: selector, Force: f.force})
		}
		return f.local(cmd, func(l *life.Life) error {
			if verb == fleet.KeyActivate {
				return l.Activate(domain, selector, f.force, who())
			}
			return l.Retire(domain, selector, f.force, who())
		})
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, force)
	return cmd
}

// local does something to the keys of this host. The daemon notices by itself.
func (f *keyOrderFlags) local(cmd *cobra.Command, do func(*life.Life) error) error {
	keys, err := openLife(f.config)
	if err != nil {
		return usageError{err}
	}
	if err := do(keys); err != nil {
		return err
	}
	return printKeys(cmd.OutOrStdout(), []*fleet.NodeKeys{keys.Keys()}, f.json)
}

// openLife opens the keys that the daemon of this host lives.
func openLife(path string) (*life.Life, error) {
	c, err := config.LoadMilter(path)
	if err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	name, err := c.NodeName(hostname)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(node.KeysDir(c), "state.json")); err != nil {
		return nil, fmt.Errorf("the daemon has not run with this configuration yet, start postfleet-milter first: %w", err)
	}
	template, err := dkim.ParseTemplate(c.DKIM.Selector, name)
	if err != nil {
		return nil, err
	}
	ring, err := dkim.LoadKeys(string(c.DKIM.KeysDir), template)
	if err != nil {
		return nil, err
	}
	return life.Open(node.KeyOptions(c, name, nil), ring)
}

// printKeys lists keys with their states.
func printKeys(out io.Writer, nodes []*fleet.NodeKeys, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(nodes)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tDOMAIN\tSELECTOR\tALGORITHM\tSTATE\tSIGNS\tNOTE")
	for _, one := range nodes {
		for i := range one.Keys {
			key := &one.Keys[i]
			signs := "no"
			if key.Signs {
				signs = "yes"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(key.Node), visible(key.Domain), visible(key.Selector),
				visible(key.Algorithm), visible(string(key.State)), signs, visible(keyNote(key)))
		}
	}
	return table.Flush()
}

// keyNote is what an administrator has to know of a key.
func keyNote(key *fleet.Key) string {
	switch {
	case key.Stage == fleet.StageRetired && key.Found.Record == fleet.RecordMatches:
		return "its record may be removed"
	case key.Stage == fleet.StageRetired:
		return ""
	case key.Alarm() != "":
		return key.Alarm()
	case key.Waits != "":
		return "waits for " + key.Waits
	case key.Stage == fleet.StageRetiring:
		return "its record must stay until " + key.Removable.UTC().Format(time.RFC3339)
	case key.Forced != "":
		return "forced by " + key.Forced
	}
	return key.Found.Failure
}
