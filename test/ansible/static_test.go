package ansible

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/test/lab"
)

// A fleet without Consul: the inventory is the list of nodes, for the aggregator and for those that relay. The roles' own tasks
// write the configurations, into a copy of this machine's file system in which postfleet is installed, and the daemons take them.
func TestStaticFleet(t *testing.T) {
	ctx := lab.Within(t, 2*time.Minute)
	root := t.TempDir()
	certificates := filepath.Join(root, "certificates")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	run("pki", "init", root+"/ca")
	for _, node := range []string{"mx1", "mx2"} {
		run("pki", "issue", "--dir", root+"/ca", "--out", certificates, "node", node)
	}
	hostname, err := os.Hostname() // by which an aggregator's certificate is found
	if err != nil {
		t.Fatal(err)
	}
	hostname, _, _ = strings.Cut(hostname, ".")
	run("pki", "issue", "--dir", root+"/ca", "--out", certificates, "aggregator", hostname)
	inventory := filepath.Join(root, "hosts.yml")
	text := fmt.Sprintf(`all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: /usr/bin/python3
    postfleet_consul_enabled: false
    postfleet_node_tls_dir: %[1]s
    postfleet_node_relay: true
    postfleet_node_relay_mode: balance
    postfleet_aggregator_tls_dir: %[1]s
    postfleet_aggregator_users: [{name: ann, role: admin, password: correct-horse-battery}]
  children:
    postfleet_nodes:
      hosts:
        mx1.example.com: {postfleet_node_address: 192.0.2.1, postfleet_node_weight: 3}
        mx2.example.com: {postfleet_node_address: 192.0.2.2}
    postfleet_aggregators:
      hosts:
        %[2]s: {postfleet_aggregator_address: 127.0.0.1}
`, certificates, hostname)
	if err := os.WriteFile(inventory, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	changed := inCopy(t, ctx, root, playbook(ctx, root, inventory, "test/ansible/testdata/static.yml"))

	var written struct {
		Relay struct {
			Mode    string
			Members []map[string]any
		}
		Members struct{ Static []map[string]any }
		Consul  map[string]any
	}
	out := filepath.Join(changed, "out")
	for _, node := range []string{"mx1", "mx2"} {
		load(t, filepath.Join(out, node+".yaml"), &written)
		want := []map[string]any{{"name": "mx1", "hop": "192.0.2.1:8529", "weight": 3}, {"name": "mx2", "hop": "192.0.2.2:8529", "weight": 1}}
		if diff := cmp.Diff(want, written.Relay.Members); diff != "" || written.Relay.Mode != "balance" || written.Consul != nil {
			t.Errorf("%s relays with (-want +got):\n%s%+v", node, diff, written)
		}
		holds(t, filepath.Join(out, node+".check"), "good, for postfleet milter\n  node "+node+"\n",
			"with the certificate /etc/postfleet/tls/node-"+node+".pem", "relays through the fleet")
	}
	load(t, filepath.Join(out, "aggregator.yaml"), &written)
	want := []map[string]any{{"name": "mx1", "address": "192.0.2.1:8525"}, {"name": "mx2", "address": "192.0.2.2:8525"}}
	if diff := cmp.Diff(want, written.Members.Static); diff != "" {
		t.Errorf("the aggregator asks (-want +got):\n%s", diff)
	}
	holds(t, filepath.Join(out, "aggregator.check"), "for 1 user", "asks nodes with the certificate /etc/postfleet/tls/aggregator-"+hostname+".pem",
		"member mx1 at 192.0.2.1:8525", "member mx2 at 192.0.2.2:8525")
}

// holds looks for texts in a file.
func holds(t *testing.T, file string, texts ...string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(string(content), text) {
			t.Errorf("%s without %q:\n%s", filepath.Base(file), text, content)
		}
	}
}
