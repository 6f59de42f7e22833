package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/test/lab"
)

const (
	domain   = "bench.example"
	selector = "bench"
	sink     = "sink.example"
)

// contestant is a Postfix instance with a milter, or none.
type contestant struct {
	name    string
	lab     *lab.Lab
	postfix *lab.Postfix
	sink    string       // HOST:PORT where its mail goes
	milter  *lab.Process // nil for bare Postfix
	binary  string       // postfleet; empty for the others
	keyFile string

	turns            []turn
	small, largePeak memory
}

// starter starts a contestant's milter at the socket that its Postfix knows.
type starter func(ctx context.Context, l *lab.Lab, c *contestant) (*lab.Process, error)

func (c *contestant) socket() string { return c.lab.MilterSocket(c.name) }

// entries are the contestants; the report's ratios need the first two.
var entries = []struct {
	name    string
	capture bool
	start   starter
}{
	{"bare", false, nil},
	{"opendkim", false, startOpenDKIM},
	{"rspamd", false, startRspamd},
	{"postfleet", false, startPostfleet},
	{"postfleet-capture", true, startPostfleet},
}

func startContestants(ctx context.Context, l *lab.Lab, binary, only string) ([]*contestant, error) {
	keyFile, err := writeKey(l)
	if err != nil {
		return nil, err
	}
	var all []*contestant
	for i, entry := range entries {
		if i > 1 && only != "" && !slices.Contains(strings.Split(only, ","), entry.name) {
			continue
		}
		c, err := newContestant(ctx, l, entry.name, entry.capture)
		if err != nil {
			return nil, err
		}
		c.keyFile = keyFile
		if strings.HasPrefix(entry.name, "postfleet") {
			c.binary = binary
		}
		if entry.start != nil {
			if c.milter, err = entry.start(ctx, l, c); err != nil {
				return nil, fmt.Errorf("start %s: %w", entry.name, err)
			}
		}
		all = append(all, c)
	}
	return all, nil
}

func newContestant(ctx context.Context, l *lab.Lab, name string, capture bool) (*contestant, error) {
	addr, err := lab.FreeAddr("127.0.0.1")
	if err != nil {
		return nil, err
	}
	opts := lab.PostfixOptions{Name: name, Capture: capture, Routes: map[string]string{sink: addr}}
	if name != "bare" {
		if _, err := l.Mkdir("node-" + name); err != nil {
			return nil, err
		}
		opts.Milter = "unix:" + l.MilterSocket(name)
	}
	postfix, err := l.StartPostfix(ctx, opts)
	return &contestant{name: name, lab: l, postfix: postfix, sink: addr}, err
}

// writeKey makes the RSA-2048 key that all sign with.
func writeKey(l *lab.Lab) (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return l.WriteFile("keys/bench.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// startOpenDKIM runs it in the foreground as root, signing only; nothing is written to the system's log.
func startOpenDKIM(ctx context.Context, l *lab.Lab, c *contestant) (*lab.Process, error) {
	config := fmt.Sprintf(`Mode s
Socket local:%s
UMask 000
Domain %s
Selector %s
KeyFile %s
Canonicalization relaxed/relaxed
InternalHosts 127.0.0.0/8
Syslog no
RequireSafeKeys no
`, c.socket(), domain, selector, c.keyFile)
	path, err := l.WriteFile("opendkim.conf", []byte(config), 0o644)
	if err != nil {
		return nil, err
	}
	process, err := l.Start("opendkim", "opendkim", "-f", "-x", path)
	if err != nil {
		return nil, err
	}
	return process, process.Ready(ctx, lab.Listens("unix", c.socket()))
}

// startRspamd runs a self-scanning proxy worker with no module but dkim_signing.
func startRspamd(ctx context.Context, l *lab.Lab, c *contestant) (*lab.Process, error) {
	dir, err := l.Mkdir("rspamd")
	if err != nil {
		return nil, err
	}
	if err := exec.CommandContext(ctx, "chown", "_rspamd", dir).Run(); err != nil {
		return nil, err
	}
	workerKey := filepath.Join(dir, "key.pem")
	content, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(workerKey, content, 0o600); err != nil {
		return nil, err
	}
	if err := exec.CommandContext(ctx, "chown", "_rspamd", workerKey).Run(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`options {
  filters = "dkim";
  pidfile = "%[1]s/rspamd.pid";
  cache_file = "%[1]s/symbols.cache";
  tempdir = "%[1]s";
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
  control_socket = "%[1]s/control.sock";
  dns { nameserver = ["127.0.0.1:1:1"]; timeout = 0s; }
}
logging { type = "console"; level = "error"; }
lua = "/usr/share/rspamd/rules/rspamd.lua";
modules { path = "/usr/share/rspamd/plugins/dkim_signing.lua"; }
dkim { }
dkim_signing {
  selector = "%[4]s";
  path = "%[3]s";
  use_esld = false;
  allow_username_mismatch = true;
  sign_local = true;
  check_pubkey = false;
}
actions { reject = 1000; add_header = 900; greylist = null; }
worker "rspamd_proxy" {
  bind_socket = "%[2]s mode=0666";
  milter = yes;
  timeout = 120s;
  count = 2;
  upstream "local" { default = yes; self_scan = yes; }
}
`, dir, c.socket(), workerKey, selector)
	path, err := l.WriteFile("rspamd/rspamd.conf", []byte(config), 0o644)
	if err != nil {
		return nil, err
	}
	process, err := l.Start("rspamd/rspamd", "rspamd", "-f", "-i", "-c", path)
	if err != nil {
		return nil, err
	}
	return process, process.Ready(ctx, lab.Listens("unix", c.socket()))
}

// startPostfleet runs a node daemon with everything on: signatures, records, the log follower, the node API.
func startPostfleet(ctx context.Context, l *lab.Lab, c *contestant) (*lab.Process, error) {
	content, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, err
	}
	keys := l.Path("keys-" + c.name)
	if _, err := l.Mkdir("keys-"+c.name, domain); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(keys, domain, c.name+".rsa.pem"), content, 0o600); err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.Path("pki")); err != nil {
		if err := l.InitCA(ctx, c.binary); err != nil {
			return nil, err
		}
	}
	id, err := l.Issue(ctx, c.binary, "node", c.name)
	if err != nil {
		return nil, err
	}
	node, err := l.StartNode(ctx, c.binary, lab.NodeOptions{Name: c.name, Postfix: c.postfix, Keys: keys, TLS: id})
	if err != nil {
		return nil, err
	}
	return node.Process, nil
}
