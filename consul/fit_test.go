package consul

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/fleet"
)

func mail(name string, weight int, check *api.HealthCheck) *api.ServiceEntry {
	return entry("host-"+name, "192.0.2.1", api.AgentService{Port: 25, Meta: map[string]string{MetaNode: name},
		Weights: api.AgentWeights{Passing: weight}}, check)
}

func TestFitMembers(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	m := NewMembers(MembersOptions{Client: newTestClient(t, http.NotFoundHandler()), MailService: "smtp-out",
		StateFile: filepath.Join(t.TempDir(), "members.json"), Now: func() time.Time { return now }})
	type fit struct {
		Fit    bool
		Unfit  string
		Weight int
	}
	check := func(step string, m *Members, want map[string]fit) {
		t.Helper()
		got := map[string]fit{}
		for _, member := range m.Members() {
			got[member.Name] = fit{member.Fit, member.Unfit, member.Weight}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", step, diff)
		}
	}
	stopped := &api.HealthCheck{Name: "smtp-out check", Status: api.HealthCritical, Output: "HTTP GET x: 503 Output: postfix FAILED: no banner"}
	m.takeMail([]*api.ServiceEntry{mail("a", 1, passing)})
	check("mail alone says nothing of the members", m, map[string]fit{})
	m.fitness = nil
	m.take(listed("a", "b", "c"))
	unknown := fit{false, "Consul hasn't told yet whether it is fit", 0}
	check("before the mail service was asked", m, map[string]fit{"a": unknown, "b": unknown, "c": unknown})
	changed := m.Changed()
	m.takeMail([]*api.ServiceEntry{mail("a", 3, passing), mail("b", 1, stopped)})
	<-changed
	all := map[string]fit{"a": {true, "", 3}, "b": {false, "postfix: no banner", 1}, "c": {false, "it registers no smtp-out", 0}}
	check("all known", m, all)

	again := NewMembers(m.o)
	check("after a restart", again, all)
	again.take(listed("a", "b"))
	check("after a restart, one answer there", again, map[string]fit{"a": all["a"], "b": all["b"], "c": {false, "not registered in Consul since 2026-11-23T10:00:00Z", 0}})
	again.takeMail([]*api.ServiceEntry{mail("b", 1, passing)})
	check("after a restart, both there", again, map[string]fit{"a": {false, "it registers no smtp-out", 0}, "b": {true, "", 1},
		"c": {false, "not registered in Consul since 2026-11-23T10:00:00Z", 0}})
}

func TestForgetting(t *testing.T) {
	kv := newKV()
	m := NewMembers(MembersOptions{Client: newTestClient(t, kv), Prefix: "p", Keeper: true})
	names := func(want ...string) {
		t.Helper()
		var got []string
		for _, member := range m.Members() {
			got = append(got, member.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	refused := func(name string, code fleet.Code) {
		t.Helper()
		if err := m.Forget(t.Context(), name, "anna"); fleet.CodeOf(err) != code {
			t.Errorf("%s: got %v, want %s", name, err, code)
		}
	}
	crashed := func(index uint64) *api.ServiceEntry {
		return entry("host-b", "192.0.2.1", api.AgentService{Meta: map[string]string{MetaNode: "b"}, ModifyIndex: index},
			&api.HealthCheck{Status: api.HealthCritical})
	}
	m.take(append(listed("a", "gone"), crashed(5)))
	names("a", "gone") // b may have left for good
	m.takeMarks(nil)
	m.take(append(listed("a"), crashed(5)))
	names("a", "b", "gone")
	refused("c", fleet.CodeNotFound)
	refused("../a", fleet.CodeNotFound)
	refused("a", fleet.CodeConflict) // it is well
	kv.fails(500)
	refused("b", fleet.CodeUnavailable)
	kv.fails(0)
	names("a", "b", "gone")

	must(t, m.Forget(t.Context(), "gone", "anna"))
	must(t, m.Forget(t.Context(), "b", "anna"))
	names("a") // at once, for whoever asked
	m.take(append(listed("a"), crashed(5)))
	names("a") // Consul still has it from before
	m.unmark(t.Context())
	if kv.get("p/forgotten/b") == "" {
		t.Fatal("the mark of a node that is not back was removed")
	}
	m.take(append(listed("a"), crashed(1000)))
	names("a", "b") // registered anew
	m.take(append(listed("a", "gone"), crashed(5)))
	names("a", "gone") // healthy again
	m.unmark(t.Context())
	if kv.get("p/forgotten/gone") != "" || kv.get("p/forgotten/b") == "" {
		t.Errorf("left: gone %q, b %q", kv.get("p/forgotten/gone"), kv.get("p/forgotten/b"))
	}
}

// Marks of others, and what isn't one of ours.
func TestForeignMarks(t *testing.T) {
	m := NewMembers(MembersOptions{Client: newTestClient(t, newKV()), Prefix: "p"})
	m.take(listed("a", "b"))
	m.take(nil)
	m.takeMarks(api.KVPairs{{Key: "p/forgotten/a", Value: []byte("not JSON")}, {Key: "p/forgotten/"}, {Key: "p/forgotten/x/y"}})
	if list := m.Members(); len(list) != 1 || list[0].Name != "b" {
		t.Errorf("members %+v", list)
	}
	m.takeMarks(nil)
	m.take(listed("a"))
	if list := m.Members(); len(list) != 2 {
		t.Errorf("members %+v", list)
	}
	m = NewMembers(MembersOptions{Client: newTestClient(t, newKV())})
	m.take(listed("a"))
	m.take(nil)
	if err := m.Forget(t.Context(), "a", "anna"); fleet.CodeOf(err) != fleet.CodeConflict {
		t.Errorf("without a place for marks: %v", err)
	}
}

// Whoever may not read the marks shows all nodes.
func TestRefusedMarks(t *testing.T) {
	kv := newKV()
	kv.fails(http.StatusForbidden)
	m := NewMembers(MembersOptions{Client: newTestClient(t, kv), Prefix: "p"})
	m.take([]*api.ServiceEntry{entry("b", "192.0.2.1", api.AgentService{}, &api.HealthCheck{Status: api.HealthCritical})})
	if list := m.Members(); len(list) != 0 {
		t.Errorf("before it is known: %+v", list)
	}
	goUntil(t, m.followMarks)
	await(t, "the node", func() bool { return len(m.Members()) == 1 })
}

func TestMarksAreFollowed(t *testing.T) {
	kv := newKV()
	m := NewMembers(MembersOptions{Client: newTestClient(t, kv), Prefix: "p", Keeper: true})
	goUntil(t, m.followMarks)
	m.take(listed("a", "b"))
	m.take(listed("b"))
	kv.set("p/forgotten/a", `{"by": "anna"}`)
	await(t, "a forgotten node", func() bool { return len(m.Members()) == 1 })
	kv.set("p/forgotten/b", `{"by": "bert"}`)
	await(t, "the removal of the mark of a healthy node", func() bool { return kv.get("p/forgotten/b") == "" })
}
