package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/node"
	"github.com/postfleet/postfleet/internal/pki"
)

var descName = regexp.MustCompile(`fqName: "(postfleet_[a-z0-9_]+)", help: "([^"]*)"`)

// registered are the names and help texts of all metrics of a registry, those without a value yet too.
func registered(registry *prometheus.Registry) map[string]string {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	names := map[string]string{}
	for description := range descriptions {
		if match := descName.FindStringSubmatch(description.String()); match != nil {
			names[match[1]] = match[2]
		}
	}
	return names
}

// Every metric that a full node or a full aggregator registers stands in docs/monitoring.md, and nothing else does.
func TestMetricsAreDocumented(t *testing.T) {
	dir, err := os.MkdirTemp("", "metrics") // short: a socket's path has to fit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	got := map[string]string{}
	maps.Copy(got, nodeMetrics(t, dir))
	maps.Copy(got, aggregatorMetrics(t, dir))

	text, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^\\| `(postfleet_[a-z0-9_]+)`").FindAllSubmatch(text, -1) {
		documented[string(match[1])] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(documented))); diff != "" {
		t.Errorf("docs/monitoring.md differs (-registered +documented):\n%s", diff)
	}
	for name, help := range got {
		if len(help) < 10 || !strings.HasSuffix(help, ".") {
			t.Errorf("%s explains itself with %q", name, help)
		}
	}
}

func nodeMetrics(t *testing.T, dir string) map[string]string {
	t.Helper()
	c := config.DefaultMilter()
	c.Milter.Listen = []config.Listen{{Address: config.Endpoint{Network: "unix", Address: filepath.Join(dir, "m.sock")}}}
	c.Repository.Dir = config.Path(filepath.Join(dir, "repository"))
	c.DKIM.KeysDir = config.Path(filepath.Join(dir, "keys"))
	c.Postfix.Log.Source = "file"
	c.API.Listen, c.API.Certificates, c.Status.Listen = "127.0.0.1:0", "consul", "127.0.0.1:0"
	c.Consul.Enabled = true
	c.Relay.Enabled, c.Relay.Listen, c.Relay.GatePort = true, "127.0.0.1:0", 0
	c.Relay.Map = config.Listen{Address: config.Endpoint{Network: "unix", Address: filepath.Join(dir, "map.sock")}}
	registry := prometheus.NewRegistry()
	n, err := node.New(&c, node.Options{Hostname: "n1", Log: zap.NewNop(), Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	names := registered(registry)
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return names
}

func aggregatorMetrics(t *testing.T, dir string) map[string]string {
	t.Helper()
	ca, err := pki.Init(filepath.Join(dir, "pki"), "test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := ca.Issue(pki.Request{Identity: pki.Identity{Role: pki.Aggregator, Name: "a"}, Valid: time.Hour}, time.Now(), "")
	if err != nil {
		t.Fatal(err)
	}
	c := config.DefaultAggregator()
	c.HTTP.Listen, c.Status.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Consul.Enabled = true
	c.Client.CertFile, c.Client.KeyFile, c.Client.CAFile = config.Path(paths.Cert), config.Path(paths.Key), config.Path(paths.CA)
	c.Access.UsersFile = config.Path(filepath.Join(dir, "users"))
	c.Access.TokensFile = config.Path(filepath.Join(dir, "tokens"))
	c.Access.AuditFile = config.Path(filepath.Join(dir, "audit.log"))
	c.Cache.Dir = config.Path(filepath.Join(dir, "cache"))
	if status, _, stderr := command("correct horse battery\n", "user", "add", "--file", string(c.Access.UsersFile), "--role", accounts.Admin.String(), "root"); status != 0 {
		t.Fatal(stderr)
	}
	s, err := newAggregatorService(&c, aggregatorOptions{hostname: "a", log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	names := registered(s.registry)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return names
}
