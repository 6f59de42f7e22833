package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Nodes implements [aggregator.Fleet]: one in service, one that drains, one that is away.
func (f *oneMessage) Nodes(context.Context) []aggregator.NodeView {
	f.mu.Lock()
	defer f.mu.Unlock()
	drain := &fleet.Drain{Left: f.left, Safe: f.left == 0, Text: map[bool]string{true: "nothing is left: safe to reboot", false: "1 message left"}[f.left == 0]}
	f.left = 0
	return []aggregator.NodeView{
		{Member: fleet.Member{Name: "a", Healthy: true, Fit: true, Weight: 3}, Info: &fleet.NodeInfo{Version: "1.2", Log: fleet.LogState{BehindBytes: 4096}, Queue: &fleet.Queue{Active: 2, Deferred: 3, Hold: 1},
			Checks: []fleet.Check{{Name: "milter", OK: true, Text: "listens"}, {Name: "log", Text: "gone \x1b[2J"}}}},
		{Member: fleet.Member{Name: "b", Healthy: true, Unfit: "drain: drains since noon"}, Info: &fleet.NodeInfo{Version: "1.1", Drain: drain}},
		{Member: fleet.Member{Name: "c", Reason: "not registered", Unfit: "not registered"}, Answer: aggregator.Answer{Error: "connection refused"}},
	}
}

// DiscoveryAway implements [aggregator.Fleet].
func (*oneMessage) DiscoveryAway() string { return "Consul is away" }

// Drain implements [aggregator.Fleet].
func (f *oneMessage) Drain(_ context.Context, node string, order fleet.DrainOrder) (*fleet.Drain, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, node+" "+order.By+" "+order.Reason)
	if !order.On {
		return nil, nil
	}
	f.left = 1
	return &fleet.Drain{Left: 1, Text: "1 message left"}, nil
}

// Forget implements [aggregator.Fleet].
func (f *oneMessage) Forget(_ context.Context, node, by string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if node == "a" {
		return fleet.Errorf(fleet.CodeConflict, "node a answers")
	}
	f.orders = append(f.orders, "forget "+node+" "+by)
	return nil
}

func TestNodeList(t *testing.T) {
	startAggregator(t)
	status, out, problems := command("", "node", "list")
	want := `NODE  MAIL   WEIGHT  QUEUE  VERSION  STATE
a     fit    3       5      1.2      ok
b     unfit  1       ?      1.1      draining: nothing is left: safe to reboot
c     unfit  1       ?      ?        does not answer: connection refused; not registered
`
	if diff := cmp.Diff(want, out); diff != "" || status != exitDone || problems != "postfleet: the nodes are those known last: Consul is away\n" {
		t.Errorf("status %d, %q\n%s", status, problems, diff)
	}
	if _, out, _ := command("", "node", "list", "--json"); !strings.HasPrefix(out, `[{"member":{"name":"a"`) {
		t.Errorf("JSON: %s", out)
	}
}

func TestNodeShow(t *testing.T) {
	startAggregator(t)
	status, out, problems := command("", "node", "show", "a")
	for _, want := range []string{"0 incoming, 2 active, 3 deferred, 1 on hold", "check milter  ok: listens", `check log     FAILED: gone \x1b[2J`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if status != exitDone {
		t.Errorf("status %d, %q", status, problems)
	}
	if status, _, problems := command("", "node", "show", "z"); status != exitFailed || problems != "postfleet: no node \"z\" in the fleet\n" {
		t.Errorf("status %d, %q", status, problems)
	}
}

func TestNodeOrders(t *testing.T) {
	f := startAggregatorAs(t, accounts.Admin)
	for _, step := range []struct {
		args   []string
		status int
		out    string
	}{
		{[]string{"node", "drain", "b", "--reason", "disks"}, exitDone, "1 message left\n"},
		{[]string{"node", "drain", "b", "--wait"}, exitDone, "1 message left\nnothing is left: safe to reboot\n"},
		{[]string{"node", "undrain", "b", "--json"}, exitDone, "{\"drain\":null}\n"},
		{[]string{"node", "forget", "c"}, exitDone, "node c is forgotten\n"},
		{[]string{"node", "forget", "a"}, exitFailed, ""},
		{[]string{"node", "drain", "b", "--timeout", "1s"}, exitUsage, ""},
		{[]string{"node"}, exitUsage, ""},
	} {
		status, out, problems := command("", step.args...)
		if status != step.status || step.out != "" && out != step.out {
			t.Errorf("%v: status %d, %q, %q", step.args, status, out, problems)
		}
	}
	if diff := cmp.Diff([]string{"b cli disks", "b cli ", "b cli ", "forget c cli"}, f.orders); diff != "" {
		t.Error(diff)
	}
}
