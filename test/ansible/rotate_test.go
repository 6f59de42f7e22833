package ansible

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// node is a host of the play: this machine, with keys of its own and a postfleet that knows them.
type node struct {
	name, dir string
}

// newNode makes a node with one key, which signs, as its daemon would have left it.
func newNode(t *testing.T, root, name string) *node {
	t.Helper()
	n := &node{name: name, dir: filepath.Join(root, name)}
	if err := os.MkdirAll(filepath.Join(n.dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"milter.yaml": fmt.Sprintf("node: {name: %s}\ndkim: {keys_dir: %s/keys, rotation: {selector: \"{node}-{letter}\"}}\nrepository: {dir: %[2]s/data}\n", name, n.dir),
		"postfleet":   fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --config %s/milter.yaml\n", binary, n.dir),
		// Ansible finds this node's postfleet by it.
		"python": fmt.Sprintf("#!/bin/sh\nPATH=%s:$PATH exec python3 \"$@\"\n", n.dir),
	} {
		if err := os.WriteFile(filepath.Join(n.dir, file), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dkim.Generate(n.dir+"/keys", "example.com", name, dkim.Ed25519, 0); err != nil {
		t.Fatal(err)
	}
	template, err := dkim.ParseTemplate("{node}", name)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := dkim.LoadKeys(n.dir+"/keys", template)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := life.Open(life.Options{Dir: n.dir + "/data/keys", Node: name, Next: "{node}-{letter}", Adopt: true}, ring); err != nil {
		t.Fatal(err)
	}
	return n
}

// keys are the node's, in the order in which they were made.
func (n *node) keys(t *testing.T, ctx context.Context) []fleet.Key {
	t.Helper()
	out, err := exec.CommandContext(ctx, n.dir+"/postfleet", "dkim", "list", "--json").CombinedOutput()
	var nodes []fleet.NodeKeys
	if err == nil {
		err = json.Unmarshal(out, &nodes)
	}
	if err != nil || len(nodes) != 1 {
		t.Fatalf("keys of %s: %v\n%s", n.name, err, out)
	}
	return nodes[0].Keys
}

// next is the key that waits, once there is one.
func (n *node) next(t *testing.T, ctx context.Context) fleet.Key {
	t.Helper()
	for {
		keys := n.keys(t, ctx)
		if i := slices.IndexFunc(keys, func(k fleet.Key) bool { return k.Stage == fleet.StageWaiting }); i >= 0 {
			return keys[i]
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no key of %s waits: %+v", n.name, keys)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// signs has the key that waits sign, as the daemon would once it saw its record.
func (n *node) signs(t *testing.T, ctx context.Context) {
	t.Helper()
	key := n.next(t, ctx)
	if out, err := exec.CommandContext(ctx, n.dir+"/postfleet", "dkim", "activate", "--force", key.Domain, key.Selector).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// One node at a time: the next one begins when this one signs with its new keys. Where it doesn't, the play ends and says which
// record is missing, and the next run goes on there.
func TestRotateWaits(t *testing.T) {
	ctx := lab.Within(t, 3*time.Minute)
	root := t.TempDir()
	n1, n2 := newNode(t, root, "n1"), newNode(t, root, "n2")
	var hosts string
	for _, n := range []*node{n1, n2} {
		hosts += fmt.Sprintf("        %s: {ansible_connection: local, ansible_python_interpreter: %s/python}\n", n.name, n.dir)
	}
	inventory := filepath.Join(root, "hosts.yml")
	if err := os.WriteFile(inventory, []byte("all:\n  children:\n    postfleet_nodes:\n      hosts:\n"+hosts), 0o644); err != nil {
		t.Fatal(err)
	}
	rotate := func(variables string) (*exec.Cmd, *bytes.Buffer) {
		cmd := playbook(ctx, root, inventory, directory+"/rotate-keys.yml", "-e", "ansible_become=false", "-e", variables)
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}

	play, out := rotate(`{"rotate_keys_timeout": 60}`)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(out)
		}
	})
	n1.next(t, ctx)
	if keys := n2.keys(t, ctx); len(keys) != 1 {
		t.Errorf("n2 began while n1 waits: %+v", keys)
	}
	n1.signs(t, ctx)
	n2.signs(t, ctx)
	if err := play.Wait(); err != nil || !strings.Contains(out.String(), "n2-a-ed25519._domainkey.example.com TXT") {
		t.Fatalf("%v\n%s", err, out)
	}

	for range 2 { // the second time it makes no further key, and waits again
		play, out = rotate(`{"rotate_keys_timeout": 1, "rotate_keys_domains": ["example.com"]}`)
		err := play.Wait()
		for _, want := range []string{"n1: n1-b-ed25519._domainkey.example.com does not sign: its record is not in DNS", "--limit n1,n2"} {
			if err == nil || !strings.Contains(out.String(), want) {
				t.Fatalf("without %q: %v\n%s", want, err, out)
			}
		}
		if one, two := n1.keys(t, ctx), n2.keys(t, ctx); len(one) != 3 || len(two) != 2 {
			t.Errorf("n1 has %d keys, n2 %d", len(one), len(two))
		}
	}
}
