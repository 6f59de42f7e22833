package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// NodeOptions describe a node daemon.
type NodeOptions struct {
	Name    string
	Host    *Host    // it runs there; nil: on the machine
	Postfix *Postfix // the instance that it reports on
	API     string   // HOST:PORT of its node API; any free one when empty
	Socket  string   // unix socket of the milter; see MilterSocket
	Keys    string   // directory of its DKIM keys
	TLS     Identity // empty when the certificates come from Consul
	Consul  *Consul  // agent to register with; nil for none
	Extra   string   // further YAML, whole top-level sections or keys of the section milter
	DKIM    string   // further keys of the section dkim; "require_dns: never" when empty, since the lab's domains are in no DNS
	// SignNetworks are the networks whose mail is signed; 127.0.0.0/9 when empty.
	SignNetworks []string
	ConsulKeys   string // further keys of the section consul, each preceded by a comma
}

// Node is a running postfleet milter.
type Node struct {
	Name    string
	Postfix *Postfix
	API     string // HOST:PORT of its node API
	Status  string // HOST:PORT of /healthz and /metrics
	Dir     string // holds its repository
	Config  string // path of milter.yaml

	*Process
	lab    *Lab
	host   *Host
	socket string
	binary string
}

// MilterSocket is where the milter of a node listens. Postfix needs to know before the node runs.
func (l *Lab) MilterSocket(node string) string { return l.Path("node-"+node, "milter.sock") }

// StartNode configures a node daemon and runs it.
func (l *Lab) StartNode(ctx context.Context, binary string, opts NodeOptions) (*Node, error) {
	n := &Node{Name: opts.Name, Postfix: opts.Postfix, lab: l, host: opts.Host, binary: binary, socket: l.MilterSocket(opts.Name)}
	var err error
	if n.Dir, err = l.Mkdir("node-"+opts.Name, "repository"); err != nil {
		return nil, err
	}
	if n.API = opts.API; n.API == "" {
		if n.API, err = opts.Host.address(apiPort); err != nil {
			return nil, err
		}
	}
	if n.Status, err = opts.Host.loopback(statusPort); err != nil {
		return nil, err
	}
	if n.Config, err = l.WriteFile(filepath.Join("node-"+opts.Name, "milter.yaml"), n.config(opts), 0o600); err != nil {
		return nil, err
	}
	return n, n.Start(ctx)
}

func (n *Node) config(opts NodeOptions) []byte {
	networks := opts.SignNetworks
	if len(networks) == 0 {
		networks = []string{"127.0.0.0/9"}
	}
	out := fmt.Appendf(nil, `node: {name: %s, mail_address: %q, addresses: [%q]}
milter:
  listen: [{address: "unix:%s"}]
  sign_networks: [%s]
dkim: {keys_dir: %s, domains: ["*"], %s}
postfix:
  config_dir: %s
  queue_dir: %s
  smtp_address: %q
  log: {source: file, file: %s}
repository: {dir: %s}
status: {listen: %q}
log: {level: info, format: console}
`, n.Name, n.Postfix.Addr, strings.Split(n.Postfix.Addr, ":")[0], n.socket, strings.Join(networks, ", "), opts.Keys, cmp.Or(opts.DKIM, "require_dns: never"), n.Postfix.Conf,
		filepath.Join(n.Postfix.Dir, "queue"), n.Postfix.Addr, n.Postfix.Log, n.Dir, n.Status)
	out = append(out, apiConfig(n.API, opts.TLS)...)
	if !strings.Contains(opts.Extra, "diagnose:") {
		out = append(out, "diagnose: {every: 0}\n"...) // a lab asks neither DNS nor blocklists of the world
	}
	return append(append(out, consulConfig(opts.Consul, opts.ConsulKeys)...), opts.Extra...)
}

func apiConfig(listen string, id Identity) string {
	if id == (Identity{}) {
		return fmt.Sprintf("api: {listen: %q, address: %q, certificates: consul}\n", listen, listen)
	}
	return fmt.Sprintf("api: {listen: %q, address: %q, certificates: files, cert_file: %s, key_file: %s, ca_file: %s}\n",
		listen, listen, id.Cert, id.Key, id.CA)
}

func consulConfig(agent *Consul, keys string) string {
	if agent == nil {
		return ""
	}
	return fmt.Sprintf("consul: {enabled: true, address: %q, wait: 10s%s}\n", agent.HTTP, keys)
}

// Start runs the daemon, again after Stop or Kill, and waits until it takes mail and says that it is healthy.
func (n *Node) Start(ctx context.Context) error {
	if err := n.StartUnready(); err != nil {
		return err
	}
	return n.Ready(ctx, func(ctx context.Context) error {
		if err := Listens("unix", n.socket)(ctx); err != nil {
			return err
		}
		return healthy(ctx, n.host, n.Status)
	})
}

// StartUnready runs the daemon without waiting for anything.
func (n *Node) StartUnready() error {
	var err error
	n.Process, err = n.lab.startOn(n.host, "node-"+n.Name+"/daemon", n.binary, "milter", "--config", n.Config)
	return err
}

var statusClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func healthy(ctx context.Context, host *Host, status string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+status+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := host.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /healthz: %s", resp.Status)
	}
	return nil
}

// Aggregator is a running postfleet aggregator.
type Aggregator struct {
	URL      string // of the page
	Status   string // HOST:PORT of /healthz and /metrics
	User     string
	Password string
	Token    string // for the JSON API
	Config   string // path of aggregator.yaml

	*Process
	lab    *Lab
	host   *Host
	binary string
}

// AggregatorOptions describe an aggregator.
type AggregatorOptions struct {
	Nodes  []*Node  // the static list; empty for the members from Consul
	TLS    Identity // empty when the certificate comes from Consul
	Consul *Consul
	Host   *Host  // it runs there, at port 8528; nil: on the machine
	Listen string // HOST:PORT; a free port of 127.0.0.1 when empty
	Access Access
	Extra  string // further YAML sections
}

// StartAggregator configures an aggregator and runs it.
func (l *Lab) StartAggregator(ctx context.Context, binary string, opts AggregatorOptions) (*Aggregator, error) {
	listen := opts.Listen
	if listen == "" {
		free, err := opts.Host.address(pagePort)
		if err != nil {
			return nil, err
		}
		listen = free
	}
	a := &Aggregator{URL: "http://" + listen, lab: l, host: opts.Host, binary: binary,
		User: opts.Access.User, Password: opts.Access.Password, Token: opts.Access.Token}
	var err error
	if a.Status, err = opts.Host.loopback(aggregatorStatusPort); err != nil {
		return nil, err
	}
	if a.Config, err = l.WriteFile("aggregator/aggregator.yaml", a.config(listen, opts), 0o600); err != nil {
		return nil, err
	}
	return a, a.Start(ctx)
}

func (a *Aggregator) config(listen string, opts AggregatorOptions) []byte {
	out := fmt.Appendf(nil, `http: {listen: %q}
access: {users_file: %s, tokens_file: %s, audit_file: %s}
status: {listen: %q}
log: {level: info, format: console}
`, listen, opts.Access.UsersFile, opts.Access.TokensFile, a.lab.Path("aggregator", "audit.log"), a.Status)
	if len(opts.Nodes) > 0 {
		out = append(out, "members:\n  static:\n"...)
		for _, node := range opts.Nodes {
			out = fmt.Appendf(out, "    - {name: %s, address: %q}\n", node.Name, node.API)
		}
	}
	if opts.TLS == (Identity{}) {
		out = append(out, "client: {certificates: consul}\n"...)
	} else {
		out = fmt.Appendf(out, "client: {certificates: files, cert_file: %s, key_file: %s, ca_file: %s}\n",
			opts.TLS.Cert, opts.TLS.Key, opts.TLS.CA)
	}
	return append(append(out, consulConfig(opts.Consul, "")...), opts.Extra...)
}

// Start runs the aggregator, again after Stop or Kill, and waits until it answers.
func (a *Aggregator) Start(ctx context.Context) error {
	var err error
	if a.Process, err = a.lab.startOn(a.host, "aggregator/daemon", a.binary, "aggregator", "--config", a.Config); err != nil {
		return err
	}
	return a.Ready(ctx, func(ctx context.Context) error {
		return errors.Join(healthy(ctx, a.host, a.Status), a.host.Listens("tcp", strings.TrimPrefix(a.URL, "http://"))(ctx))
	})
}
