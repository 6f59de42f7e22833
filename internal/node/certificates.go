package node

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/pki"
)

// The sources of the node API's certificate.
const (
	fromFiles  = "files"
	fromConsul = "consul"
	noAPI      = "off"
)

// certificateSource decides what api.certificates: auto means on this host at this moment.
func certificateSource(c *config.Milter, name string) string {
	switch {
	case c.API.Certificates != "auto":
		return c.API.Certificates
	case exists(c.API.CertFile.Expand(name)):
		return fromFiles
	case c.Consul.Enabled:
		return fromConsul
	}
	return noAPI
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func fileCredentials(c *config.API, name string, o *Options) (pki.Options, error) {
	files, err := pki.NewFiles(pki.FileOptions{
		Cert: c.CertFile.Expand(name),
		Key:  c.KeyFile.Expand(name),
		CA:   c.CAFile.Expand(name),
		Log:  o.Log.Named("pki"),
	})
	if err != nil {
		return pki.Options{}, &ConfigError{fmt.Errorf("node API: %w", err)}
	}
	return pki.Options{Source: files, Scheme: pki.FleetScheme, Now: o.Now}, nil
}

// How long a certificate of the node API must still be good. Somebody has to replace files; Consul renews its own, of 72 h,
// when a good part of them is left.
const (
	filesLeft  = 14 * 24 * time.Hour
	consulLeft = 6 * time.Hour
)

// certificateCheck tells whether somebody should see to the certificate.
func certificateCheck(source pki.Source, renewedByConsul bool, now time.Time) fleet.Check {
	check := fleet.Check{Name: checkCert}
	cert, _, err := source.Credentials()
	if err != nil {
		check.Text = err.Error()
		return check
	}
	until, least := cert.Leaf.NotAfter, filesLeft
	if renewedByConsul {
		least = consulLeft
	}
	switch at := until.UTC().Format(time.RFC3339); {
	case !now.Before(until):
		check.Text = "expired at " + at + ": the aggregator can't ask this node"
	case until.Sub(now) < least:
		check.Text = "expires at " + at + " and was not renewed"
	default:
		check.OK, check.Text = true, "good until "+at
	}
	return check
}

// connectLeaf is the node's certificate from Consul's Connect CA.
func connectLeaf(c *config.Milter, name string, client *consul.Client) *consul.Leaf {
	return consul.NewLeaf(consul.LeafOptions{
		Client:    client,
		Service:   pki.ConnectService(c.Consul.APIService, name),
		StateFile: filepath.Join(c.Repository.Dir.String(), "consul-leaf.json"),
	})
}

func connectScheme(c *config.Milter) pki.Scheme {
	return pki.ConnectScheme(c.Consul.APIService, c.Consul.AggregatorService)
}
