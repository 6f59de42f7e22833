package ansible

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// The role's rules, loaded on a host, let the balancers and the host itself reach the port for connections with a PROXY header,
// and nobody else; other ports are as they were.
func TestFirewallOfTheProxyPort(t *testing.T) {
	ctx := lab.Within(t, 2*time.Minute)
	root := t.TempDir()
	inventory := filepath.Join(root, "hosts.yml")
	text := `all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: /usr/bin/python3
    postfleet_node_proxy_port: 2526
  children:
    postfleet_nodes:
      hosts: {mx1.example.com: {}}
    postfleet_balancers:
      hosts:
        lb1.example.com: {ansible_host: 10.78.0.2}
        lb2.example.com: {ansible_host: "2001:db8::2"}
`
	if err := os.WriteFile(inventory, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	changed := inCopy(t, ctx, root, playbook(ctx, root, inventory, "test/ansible/testdata/firewall.yml"))
	rules := filepath.Join(changed, "etc/nftables.d/postfleet-proxy.nft")
	holds(t, rules, "define port = 2526\n", "elements = { 10.78.0.2 }\n", "elements = { 2001:db8::2 }\n")
	holds(t, filepath.Join(changed, "etc/systemd/system/postfleet-proxy-port.service"), "nft -f /etc/nftables.d/postfleet-proxy.nft")

	network, err := lab.ForTest(t).StartNetwork(ctx, netip.MustParsePrefix("10.78.0.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]*lab.Host{}
	for name, ip := range map[string]string{"node": "10.78.0.1", "balancer": "10.78.0.2", "other": "10.78.0.3"} {
		if hosts[name], err = network.StartHost(ctx, lab.HostOptions{Name: name, IP: ip}); err != nil {
			t.Fatal(err)
		}
	}
	for _, port := range []string{"25", "2526"} {
		listener, err := hosts["node"].Listen(ctx, "tcp", "10.78.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	reached := func(from, port string) bool {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := hosts[from].DialContext(ctx, "tcp", "10.78.0.1:"+port)
		if err == nil {
			return conn.Close() == nil
		}
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("%s: %v", from, err)
		}
		return false
	}
	if !reached("other", "2526") {
		t.Fatal("the port can't be reached even without rules")
	}
	for range 2 { // loading them again changes nothing
		if out, err := hosts["node"].Run(ctx, "nft", "-f", rules); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, c := range []struct {
		from, port string
		want       bool
	}{{"balancer", "2526", true}, {"node", "2526", true}, {"other", "2526", false}, {"other", "25", true}, {"balancer", "25", true}} {
		if got := reached(c.from, c.port); got != c.want {
			t.Errorf("%s reaches port %s: %v", c.from, c.port, got)
		}
	}
}
