package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node/mta"
)

// DiagnoseHere makes a diagnosis without the daemon, from the configuration and the files alone: before the daemon runs for
// the first time, or while it doesn't. What only the daemon knows, recent mail for one, is left out. Nothing is kept.
func DiagnoseHere(ctx context.Context, c *config.Milter, o Options, run diagnose.RunOptions) (*fleet.Diagnosis, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	name, err := c.NodeName(o.Hostname)
	if err != nil {
		return nil, &ConfigError{err}
	}
	signer, err := newSigner(&c.DKIM, name, dkim.DefaultLineLimit)
	if err != nil {
		return nil, err
	}
	q := &inquiry{name: name, config: c, postfix: mta.New(postfixOptions(&c.Postfix, &o)), now: o.Now, peers: readTold(diagnosesOf(string(c.Repository.Dir)).dir),
		relay: c.Relay.Settings().Relay}
	if q.signer, q.keys, err = keysHere(c, name, signer, o.Now); err != nil {
		return nil, err
	}
	if len(q.peers.Peers) == 0 {
		q.peers.Note = "the daemon, which asks them, doesn't run"
	}
	done := &fleet.Diagnosis{Node: name, Cause: fleet.CauseHost, Started: o.Now().UTC()}
	facts := q.facts(ctx)
	if done.Findings, err = diagnose.Run(ctx, facts, run); err != nil {
		return nil, err
	}
	done.Ended, done.Total, done.Egress, done.HELO = o.Now().UTC(), len(done.Findings), facts.Egress, facts.HELO
	return done, nil
}

// keysHere are the keys as the daemon left them, or those of the configuration where it never ran.
func keysHere(c *config.Milter, name string, signer *dkim.Signer, now func() time.Time) (*dkim.Signer, []fleet.Key, error) {
	if _, err := os.Stat(filepath.Join(KeysDir(c), "state.json")); err == nil {
		l, err := life.Open(KeyOptions(c, name, now), signer.Keyring())
		if err != nil {
			return nil, nil, err
		}
		return signer.WithKeys(l.Keyring()), l.Keys().Keys, nil
	}
	var keys []fleet.Key
	for _, k := range signer.Keys() {
		keys = append(keys, fleet.Key{Node: name, Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm(), Bits: k.Bits(),
			Name: k.RecordName(), Text: k.Record(), Fingerprint: k.Fingerprint(), Signs: slices.Contains(signer.Selectors(now()), k.Describe())})
	}
	return signer, keys, nil
}
