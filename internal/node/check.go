package node

import (
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
)

// Check tells whether a node would take a configuration on this host, and what it would do, a line each. It reads keys
// and certificates, and opens no socket and no repository.
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
	return describe(c, name, signer.Selectors(o.Now()), api), nil
}
