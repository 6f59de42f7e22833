package relay

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

// Only mail that would leave the site, and has no smart host of its own, is relayed.
func TestWhatIsNeverRelayed(t *testing.T) {
	inside := map[string]string{
		"mydestination": "local.example", "virtual_mailbox_domains": "virtual.example", "relay_domains": "inner.example",
		"sender_dependent_relayhost_maps": "texthash:$config_directory/smarthosts",
	}
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.ready(0, 1)
	n1 := s.nodes[0].Postfix
	for _, class := range []string{"local_transport", "virtual_transport", "relay_transport"} {
		inside[class] = "smtp:[" + s.ip + "]:25"
	}
	table := "socketmap:unix:" + s.lab.Path("node-n1", "map.sock") + ":relay"
	inside["sender_dependent_default_transport_maps"] = "texthash:$config_directory/transports, " + table
	s.must(os.WriteFile(filepath.Join(n1.Conf, "smarthosts"), []byte(fmt.Sprintf(
		"smart@shop.example [%s]:25\n@smart.example [%[1]s]:25\nexcept@smart.example DUNNO\n", s.ip)), 0o644))
	s.must(os.WriteFile(filepath.Join(n1.Conf, "transports"), []byte("own@shop.example smtp:["+s.ip+"]:25\n@own.example smtp:["+s.ip+"]:25\n"), 0o644))
	s.set(0, inside)
	s.must(n1.Route(s.ctx, "routed.example", net.JoinHostPort(s.ip, "25")))
	for i, c := range []struct{ name, from, to, way string }{
		{"other mail", "a@shop.example", "user@remote.example", "n1>n2"},
		{"local", "a@shop.example", "user@local.example", "n1"},
		{"virtual", "a@shop.example", "user@virtual.example", "n1"},
		{"relay domain", "a@shop.example", "user@inner.example", "n1"},
		{"transport table", "a@shop.example", "user@routed.example", "n1"},
		{"smart host of the sender", "smart@shop.example", "b@remote.example", "n1"},
		{"smart host of the address without its extension", "smart+list@shop.example", "b@remote.example", "n1"},
		{"smart host of the sender's domain", "a@smart.example", "b@remote.example", "n1"},
		{"exception from that", "except@smart.example", "b@remote.example", "n1>n2"},
		{"transport of the sender", "own@shop.example", "b@remote.example", "n1"},
		{"transport of the sender's domain", "a@own.example", "b@remote.example", "n1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t)
			if i == 0 {
				s.sendFor(0, c.from, exactly(c.way))
				return
			}
			if way := s.arrived(s.send(0, mail(c.from, c.to))); way != c.way {
				t.Errorf("went %s, want %s", way, c.way)
			}
		})
	}
	t.Run("relayhost", func(t *testing.T) {
		s := s.in(t)
		s.set(0, map[string]string{"relayhost": "[" + s.ip + "]:25"})
		s.sendFor(0, "a@shop.example", exactly("n1"))
		s.set(0, map[string]string{"relayhost": ""})
		s.sendFor(0, "b@shop.example", exactly("n1>n2"))
	})
	t.Run("default_transport", func(t *testing.T) {
		s := s.in(t)
		s.set(0, map[string]string{"default_transport": "smtp:[" + s.ip + "]:25"})
		s.sendFor(0, "c@shop.example", exactly("n1"))
	})
}

// set changes main.cf and has Postfix read it.
func (s *site) set(i int, parameters map[string]string) {
	s.t.Helper()
	args := []string{"-c", s.nodes[i].Postfix.Conf, "-e"}
	for name := range maps.Keys(parameters) {
		args = append(args, name+"="+parameters[name])
	}
	if out, err := exec.CommandContext(s.ctx, "postconf", args...).CombinedOutput(); err != nil {
		s.t.Fatalf("postconf: %v: %s", err, out)
	}
	if out, err := exec.CommandContext(s.ctx, "postfix", "-c", s.nodes[i].Postfix.Conf, "reload").CombinedOutput(); err != nil {
		s.t.Fatalf("postfix reload: %v: %s", err, out)
	}
	s.until(lab.Listens("tcp", s.nodes[i].Postfix.Addr))
}
