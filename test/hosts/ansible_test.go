package hosts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

// writeInventory lists the machines: the first three are Consul's servers, the first is the master and the balancer.
func (s *site) writeInventory(t *testing.T) {
	t.Helper()
	var hosts, servers strings.Builder
	for i, m := range s.nodes {
		fmt.Fprintf(&hosts, "        %s: {ansible_host: %s}\n", m.Name, m.IP)
		if i < 3 {
			fmt.Fprintf(&servers, "        %s:\n", m.Name)
		}
	}
	text := fmt.Sprintf(`all:
  vars:
    ansible_user: root
    ansible_ssh_common_args: %q
    postfleet_consul_binary: %s
    postfleet_consul_address: "{{ ansible_host }}"
    postfleet_node_address: "{{ ansible_host }}"
    postfleet_aggregator_address: "{{ ansible_host }}"
    postfleet_node_domains: [%s]
    postfleet_node_sign_networks: [10.77.0.0/24]
    postfleet_node_proxy_port: 2525
    postfleet_node_relay: true
    postfleet_dns_forwarder: dnsmasq
    postfleet_dns_upstream: [%s]
    postfleet_dns_listen: [127.0.0.1, "{{ ansible_host }}"]
    postfleet_haproxy_bind: ":2500"
    postfleet_aggregator_users: [{name: ann, role: admin, password: %s}]
  children:
    postfleet:
      children: {consul_servers: {}, postfleet_nodes: {}, postfleet_aggregators: {}, postfleet_balancers: {}}
    postfleet_nodes:
      hosts:
%s    consul_servers:
      hosts:
%s    postfleet_aggregators:
      hosts: {%s: {}}
    postfleet_balancers:
      hosts: {%s: {}}
`, strings.Join(lab.SSH(s.key), " "), consulBinary(t), domain, outsideIP, password, hosts.String(), servers.String(),
		s.nodes[0].Name, s.nodes[0].Name)
	var err error
	if s.inventory, err = s.WriteFile("inventory/hosts.yml", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const password = "correct-horse-battery"

// consulBinary is the server that the tests use everywhere.
func consulBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(filepath.Dir(cacheDir(t)), "tools", "consul")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("no Consul server, see make consul: %v", err)
	}
	return binary
}

// recap is a line that ansible-playbook ends with.
var recap = regexp.MustCompile(`(?m)^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)`)

// play runs a playbook and tells how many tasks changed something.
func (s *site) play(t *testing.T, ctx context.Context, playbook string, args ...string) (changed int, out string) {
	t.Helper()
	directory, err := filepath.Abs("../../ansible")
	if err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"ANSIBLE_CONFIG=" + filepath.Join(directory, "ansible.cfg"), "ANSIBLE_NOCOLOR=1", "HOME=" + s.Dir, "LC_ALL=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "ansible-playbook", "-i", s.inventory,
		filepath.Join(directory, playbook)}, args...)
	text, err := s.control.Run(ctx, "env", argv...)
	out = string(text)
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", playbook, err, out, s.journals(ctx))
	}
	hosts := recap.FindAllStringSubmatch(out, -1)
	if len(hosts) == 0 {
		t.Fatalf("%s did nothing:\n%s", playbook, out)
	}
	for _, host := range hosts {
		n, err := strconv.Atoi(host[3])
		if err != nil {
			t.Fatal(err)
		}
		changed += n
	}
	return changed, out
}

// journals is the end of what the daemons of the fleet's machines said.
func (s *site) journals(ctx context.Context) string {
	var text strings.Builder
	for _, m := range s.nodes {
		out, err := m.Run(ctx, "journalctl --no-pager --output=cat --lines=25 -u 'postfleet*' -u haproxy -u dnsmasq; systemctl --failed --no-pager --plain")
		fmt.Fprintf(&text, "--- %s (%v)\n%s", m.Name, err, out)
	}
	return text.String()
}
