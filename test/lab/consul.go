package lab

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// Consul is an agent, and a server unless it joins one.
type Consul struct {
	HTTP string // HOST:PORT of its HTTP API
	DNS  string // HOST:PORT
	Dir  string // its data

	*Process
	lab  *Lab
	host *Host
	name string
	id   string // of its node
	args []string
	serf string
}

// ConsulOptions describe an agent.
type ConsulOptions struct {
	Name string
	Host *Host   // it runs there, at Consul's own ports; nil: on the machine, at ports that are free
	Join *Consul // the server to be a client of; nil makes a server
	// Servers are the addresses of several servers instead, each on a host of its own; the agent is one of them when its
	// host is.
	Servers []string
	Config  map[string]any
	Files   []string // further configuration, which goes before
}

// ConsulBinary finds a Consul binary: the one on PATH, or the one that `make consul` built into the user's cache.
func ConsulBinary() (string, error) {
	if path, err := exec.LookPath("consul"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "postfleet", "tools", "consul")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find consul: not on PATH and not built (make consul): %w", err)
	}
	return path, nil
}

// StartConsul runs an agent and waits until the cluster has a leader. With several servers it doesn't wait: see WaitLeader.
func (l *Lab) StartConsul(ctx context.Context, opts ConsulOptions) (*Consul, error) {
	ports, err := consulPorts(opts.Host)
	if err != nil {
		return nil, err
	}
	bind := "127.0.0.1"
	if opts.Host != nil {
		bind = opts.Host.IP
	}
	dir, err := l.Mkdir("consul-" + opts.Name)
	if err != nil {
		return nil, err
	}
	address := func(port string) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[port])) }
	c := &Consul{HTTP: address("http"), DNS: address("dns"), serf: net.JoinHostPort(bind, strconv.Itoa(ports["serf_lan"])),
		Dir: filepath.Join(dir, "data"), lab: l, host: opts.Host, name: "consul-" + opts.Name, id: uuid()}
	config := map[string]any{
		// An agent that forgot its id and comes back under its name before the servers noticed is refused by them
		// ("Node name … is reserved") for good.
		"node_id":   c.id,
		"node_name": opts.Name, "data_dir": c.Dir, "bind_addr": bind, "client_addr": "127.0.0.1", "ports": ports,
		"disable_update_check": true, "leave_on_terminate": false, "skip_leave_on_interrupt": true,
		"performance": map[string]any{"raft_multiplier": 1}, "log_level": "info",
	}
	switch {
	case opts.Servers != nil:
		config["retry_join"], config["retry_interval"] = opts.Servers, "1s"
		if slices.Contains(opts.Servers, bind) {
			config["server"], config["bootstrap_expect"] = true, len(opts.Servers)
			config["connect"] = map[string]any{"enabled": true}
		}
	case opts.Join == nil:
		config["server"], config["bootstrap_expect"] = true, 1
		config["connect"] = map[string]any{"enabled": true}
	default:
		config["retry_join"], config["retry_interval"] = []string{opts.Join.serf}, "1s"
	}
	for key, value := range opts.Config {
		config[key] = value
	}
	content, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	path, err := l.WriteFile(filepath.Join("consul-"+opts.Name, "config.json"), content, 0o644)
	if err != nil {
		return nil, err
	}
	c.args = []string{"agent", "-config-file", path}
	for _, file := range opts.Files {
		c.args = append(c.args, "-config-file", file)
	}
	if err := c.StartUnready(); err != nil {
		return nil, err
	}
	if opts.Servers != nil {
		return c, nil // there is no leader before enough of them run
	}
	return c, c.WaitLeader(ctx)
}

// consulPorts are Consul's own on a host, and such as are free on the machine.
func consulPorts(host *Host) (map[string]int, error) {
	ports := map[string]int{"http": 8500, "dns": 8600, "serf_lan": 8301, "serf_wan": 8302, "server": 8300}
	if host == nil {
		for name := range ports {
			var err error
			if ports[name], err = FreePort("127.0.0.1"); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range []string{"grpc", "grpc_tls", "https"} {
		ports[name] = -1
	}
	return ports, nil
}

// Start runs the agent, again after Stop or Kill, at the same addresses and on the same data, and waits for a leader.
func (c *Consul) Start(ctx context.Context) error {
	if err := c.StartUnready(); err != nil {
		return err
	}
	return c.WaitLeader(ctx)
}

// StartUnready runs the agent without waiting for anything.
func (c *Consul) StartUnready() error {
	binary, err := ConsulBinary()
	if err != nil {
		return err
	}
	c.Process, err = c.lab.startOn(c.host, c.name, binary, c.args...)
	return err
}

// WaitLeader waits until the agent knows a leader of the servers.
func (c *Consul) WaitLeader(ctx context.Context) error { return c.Ready(ctx, c.hasLeader) }

// Forget removes the agent's data; it must not run.
func (c *Consul) Forget() error { return os.RemoveAll(c.Dir) }

// uuid is a random one (RFC 9562 section 5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Leader is HOST:PORT of the server that leads the others; empty while they have none.
func (c *Consul) Leader(ctx context.Context) (leader string, err error) {
	err = getJSON(ctx, c.host.HTTP(), "http://"+c.HTTP+"/v1/status/leader", &leader)
	return leader, err
}

// Lead asks the servers to let this one lead them.
func (c *Consul) Lead(ctx context.Context) error {
	binary, err := ConsulBinary()
	if err != nil {
		return err
	}
	_, err = c.host.Run(ctx, binary, "operator", "raft", "transfer-leader", "-http-addr="+c.HTTP, "-id="+c.id)
	return err
}

func (c *Consul) hasLeader(ctx context.Context) error {
	leader, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	if leader == "" {
		return fmt.Errorf("no leader yet")
	}
	return nil
}

func getJSON(ctx context.Context, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	return nil
}

// Checks are the states of the checks that the agent makes itself, by id: passing, warning or critical.
func (c *Consul) Checks(ctx context.Context) (map[string]string, error) {
	var checks map[string]struct{ Status string }
	if err := getJSON(ctx, c.host.HTTP(), "http://"+c.HTTP+"/v1/agent/checks", &checks); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for id, check := range checks {
		states[id] = check.Status
	}
	return states, nil
}

// Healthy are the instances of a service whose checks all pass, as HOST:PORT.
func (c *Consul) Healthy(ctx context.Context, service string) ([]string, error) {
	var entries []struct {
		Service struct {
			Address string
			Port    int
		}
	}
	if err := getJSON(ctx, c.host.HTTP(), "http://"+c.HTTP+"/v1/health/service/"+service+"?passing", &entries); err != nil {
		return nil, err
	}
	var instances []string
	for _, entry := range entries {
		instances = append(instances, net.JoinHostPort(entry.Service.Address, strconv.Itoa(entry.Service.Port)))
	}
	return instances, nil
}
