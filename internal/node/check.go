package node

import (
	"cmp"
	"fmt"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Check tells whether a node would take a configuration on this host, and what it would do, a line each. It reads keys,
// where they are in their lives, and certificates, and opens no socket and no repository.
func Check(c *config.Milter, o Options) ([]string, error) {
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
	api := "on " + string(c.API.Listen)
	switch certificateSource(c, name) {
	case fromFiles:
		if _, err := fileCredentials(&c.API, name, &o); err != nil {
			return nil, err
		}
		api += " with the certificate " + c.API.CertFile.Expand(name)
	case fromConsul:
		api += " with a certificate from Consul"
	case noAPI:
		api = "is off"
		if c.API.Certificates != noAPI {
			api += ": there is no " + c.API.CertFile.Expand(name)
		}
	}
	keys, err := life.Read(keyOptionsHere(c, name, o.Now), signer.Keyring())
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("dkim: %w", err)}
	}
	return describe(c, name, keys.Keys, api), nil
}

// describeKey says whether a key signs, and why it doesn't.
func describeKey(k *fleet.Key) string {
	what := fmt.Sprintf("for %s with selector %s (%s)", k.Domain, k.Selector, k.Algorithm)
	switch {
	case k.Signs:
		return "signs " + what
	case k.Stage == fleet.StageWaiting:
		return "does not sign " + what + " yet: waits for " + cmp.Or(k.Waits, "its record "+k.Name)
	case k.Stage == fleet.StageRetiring:
		return "does not sign " + what + " any more: retiring, its record must stay until " + k.Removable.UTC().Format(time.RFC3339)
	case k.Stage == fleet.StageRetired:
		return "does not sign " + what + " any more: retired"
	}
	return "does not sign " + what + ": " + k.Alarm()
}
