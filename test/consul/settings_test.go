package consul

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// relaying are settings that somebody writes for the first time.
func relaying(mode fleet.RelayMode, by string) fleet.Settings {
	return fleet.Settings{Relay: fleet.Relay{Mode: mode, Carry: []string{"mx1", "mx2"}}, ChangeBy: by}
}

// inForce is a check for eventually.
func inForce(s *consul.Settings, mode fleet.RelayMode, from string) func() error {
	return func() error {
		if is := s.Settings(); is.Relay.Mode != mode || s.From() != from {
			return fmt.Errorf("%q by %s from %s, trouble %q, Consul away: %q", is.Relay.Mode, is.ChangeBy, s.From(), s.Trouble(), s.Away())
		}
		return nil
	}
}

// startServers runs a cluster of so many servers, the first of which is the leader at first.
func startServers(t *testing.T, l *lab.Lab, count int) (servers []*lab.Consul) {
	t.Helper()
	for i := range count {
		o := lab.ConsulOptions{Name: fmt.Sprintf("server%d", i+1), Config: map[string]any{
			"autopilot": map[string]any{"server_stabilization_time": "200ms"}}} // until it has a vote
		if i > 0 {
			o.Join = servers[0]
			o.Config["server"] = true
		}
		servers = append(servers, startAgent(t, l, o))
	}
	status := asking(t, servers[0], "").Operator()
	eventually(t, 30*time.Second, func() error {
		raft, err := status.RaftGetConfiguration(nil)
		if err != nil {
			return err
		}
		voters := 0
		for _, server := range raft.Servers {
			if server.Voter {
				voters++
			}
		}
		if voters != count {
			return fmt.Errorf("%d of %d servers vote", voters, count)
		}
		return nil
	})
	return servers
}

// follow keeps a node's settings as its daemon does.
func follow(t *testing.T, agent *lab.Consul, state string) (s *consul.Settings, stop func()) {
	t.Helper()
	s = consul.NewSettings(consul.SettingsOptions{Client: newClient(t, agent, func(o *consul.Options) { o.Wait = 5 * time.Minute }), StateFile: state})
	return s, run(t, s.Run)
}

// A change reaches every node of a cluster of three servers, also while one server is down.
func TestSettingsReachEveryNode(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	servers := startServers(t, l, 3)
	agents := slices.Clone(servers)
	for i := range 3 {
		agents = append(agents, startAgent(t, l, lab.ConsulOptions{Name: fmt.Sprintf("n%d", i+1), Join: servers[i]}))
	}
	var nodes []*consul.Settings
	for _, agent := range agents[1:] {
		node, _ := follow(t, agent, "")
		nodes = append(nodes, node)
	}
	writer := nodes[len(nodes)-1]
	change := func(what string, mode fleet.RelayMode, put func(fleet.Settings) error) {
		t.Helper()
		next := writer.Settings()
		next.Relay.Mode, next.ChangeBy = mode, "anna"
		began := time.Now()
		must(t, put(next))
		var slowest time.Duration
		for _, node := range nodes {
			eventually(t, 30*time.Second, inForce(node, mode, fleet.FromConsul))
			slowest = time.Since(began)
		}
		t.Logf("%s: in force on %d nodes after %s of 5 s", what, len(nodes), slowest.Round(time.Millisecond))
	}
	put := func(s fleet.Settings) error { return writer.Put(lab.Within(t, 20*time.Second), s) }
	for _, mode := range []fleet.RelayMode{fleet.RelayBalance, fleet.RelayFailover, fleet.RelayOff} {
		change("all servers up, "+string(mode), mode, put)
	}
	must(t, servers[0].Kill())
	eventually(t, 60*time.Second, func() error { return put(writer.Settings()) })
	for _, mode := range []fleet.RelayMode{fleet.RelayBalance, fleet.RelayOff} {
		change("one server of three is down, "+string(mode), mode, put)
	}
	index := writer.Settings().Index
	for _, node := range nodes {
		if node.Settings().Index != index {
			t.Errorf("index %d and %d", node.Settings().Index, index)
		}
	}
}

func TestSettingsWithoutConsul(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	state := filepath.Join(t.TempDir(), "settings.json")
	node, stop := follow(t, agent, state)
	must(t, node.Put(lab.Within(t, 20*time.Second), relaying(fleet.RelayBalance, "anna")))
	want := node.Settings()
	must(t, agent.Kill())
	eventually(t, 20*time.Second, inForce(node, fleet.RelayBalance, fleet.FromMemory))
	err := node.Put(lab.Within(t, 20*time.Second), want)
	if fleet.CodeOf(err) != fleet.CodeUnavailable || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("written while Consul is away: %v", err)
	}
	stop()

	again, _ := follow(t, agent, state)
	must(t, inForce(again, fleet.RelayBalance, fleet.FromMemory)()) // at once
	if diff := cmp.Diff(want, again.Settings()); diff != "" {
		t.Error(diff)
	}
	must(t, agent.Start(lab.Within(t, time.Minute)))
	eventually(t, 30*time.Second, inForce(again, fleet.RelayBalance, fleet.FromConsul))
	next := again.Settings()
	next.Relay.Mode = fleet.RelayOff
	must(t, again.Put(lab.Within(t, 20*time.Second), next))
}

func TestTwoWritersOnRealConsul(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	anna, _ := follow(t, agent, "")
	bert, _ := follow(t, agent, "")
	results := make(chan error, 2)
	for name, writer := range map[string]*consul.Settings{"anna": anna, "bert": bert} {
		go func() { results <- writer.Put(context.WithoutCancel(t.Context()), relaying(fleet.RelayBalance, name)) }()
	}
	var conflict error
	for range 2 {
		if err := <-results; err != nil {
			conflict = errors.Join(conflict, err)
		}
	}
	first := anna.Settings().ChangeBy
	if fleet.CodeOf(conflict) != fleet.CodeConflict || !strings.HasPrefix(conflict.Error(), first+" changed the settings at ") {
		t.Errorf("of two writers: %v", conflict)
	}
	t.Log(conflict)
	eventually(t, 20*time.Second, inForce(bert, fleet.RelayBalance, fleet.FromConsul))
	must(t, bert.Put(lab.Within(t, 20*time.Second), bert.Settings())) // having seen it
}

// Somebody writes nonsense with Consul's own tools.
func TestNonsenseInKV(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	node, _ := follow(t, agent, "")
	must(t, node.Put(lab.Within(t, 20*time.Second), relaying(fleet.RelayBalance, "anna")))
	kv := asking(t, agent, "").KV()
	const key = consul.DefaultPrefix + "/settings"
	for _, value := range []string{"", "{", `{"relay": {"mode": "loud"}}`, strings.Repeat("x", 500_000)} {
		_, err := kv.Put(&api.KVPair{Key: key, Value: []byte(value)}, nil)
		must(t, err)
		eventually(t, 20*time.Second, func() error {
			if node.Trouble() == "" {
				return errors.New("nobody noticed")
			}
			return nil
		})
		must(t, inForce(node, fleet.RelayBalance, fleet.FromConsul)())
		must(t, node.Put(lab.Within(t, 20*time.Second), node.Settings())) // the page mends it
		if node.Trouble() != "" {
			t.Errorf("after it was mended: %s", node.Trouble())
		}
	}
	_, err := kv.Delete(key, nil)
	must(t, err)
	eventually(t, 20*time.Second, inForce(node, "", fleet.FromConfiguration))
}
