package relay

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/postfleet/postfleet/internal/relay"
)

// As Debian sets Postfix up: the daemons that ask the map and that carry mail are in a chroot, the queue directory.
func TestChroot(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]\nrules: [{domain: failover.example, mode: failover}, {domain: off.example, mode: off}]",
		names: []map[string]string{{"refuses.example": "127.199.199.199"}}})
	s.must(s.nodes[1].Postfix.Name("refuses.example", s.ip))
	for i := range s.nodes {
		s.chroot(i)
	}
	s.ready(0, 1)
	for _, c := range []struct{ from, to, way string }{
		{"a@shop.example", "user@remote.example", "n1>n2"},
		{"a@failover.example", "user@refuses.example", "n1>n2"},
		{"a@failover.example", "user@remote.example", "n1"},
		{"a@off.example", "user@remote.example", "n1"},
	} {
		if way := s.arrived(s.send(0, mail(c.from, c.to))); way != c.way {
			t.Errorf("%s to %s: went %s, want %s", c.from, c.to, way, c.way)
		}
	}
	for i := range s.nodes {
		queue := filepath.Join(s.nodes[i].Postfix.Dir, "queue")
		roots, err := filepath.Glob("/proc/[0-9]*/root")
		s.must(err)
		inside := slices.DeleteFunc(roots, func(root string) bool {
			target, err := os.Readlink(root)
			return err != nil || target != queue
		})
		if len(inside) == 0 {
			t.Errorf("no daemon of %s is in %s", name(i), queue)
		}
	}
}

// chroot moves a node's map below Postfix's queue directory, and Postfix's daemons into it, with the files that looking up
// names takes.
func (s *site) chroot(i int) {
	s.t.Helper()
	node, postfix := s.nodes[i], s.nodes[i].Postfix
	queue := filepath.Join(postfix.Dir, "queue")
	for _, dir := range []string{"etc", "postfleet"} {
		s.must(os.Mkdir(filepath.Join(queue, dir), 0o755))
	}
	for from, to := range map[string]string{filepath.Join(postfix.Dir, "hosts"): "etc/hosts", "/etc/nsswitch.conf": "etc/nsswitch.conf"} {
		text, err := os.ReadFile(from)
		s.must(err)
		s.must(os.WriteFile(filepath.Join(queue, to), text, 0o644))
	}
	before, after := s.lab.Path("node-"+name(i), "map.sock"), filepath.Join(queue, "postfleet", "map.sock")
	s.reconfigure(i, `map: {address: "unix:`+before+`"}`, `map: {address: "unix:`+after+`"}`)
	s.must(node.Stop())
	s.must(node.Start(s.ctx))
	for _, service := range []string{"rewrite", "smtp", "postfleet-hop", "postfleet-failover", "postfleet-carry"} {
		if out, err := exec.CommandContext(s.ctx, "postconf", "-c", postfix.Conf, "-F", service+"/unix/chroot=y").CombinedOutput(); err != nil {
			s.t.Fatalf("postconf: %v: %s", err, out)
		}
	}
	s.set(i, map[string]string{"sender_dependent_default_transport_maps": relay.Table("unix", after, queue)})
}
