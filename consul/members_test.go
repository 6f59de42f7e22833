package consul

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postfleet/postfleet/internal/fleet"
)

var passing = &api.HealthCheck{Status: api.HealthPassing}

func listed(names ...string) (entries []*api.ServiceEntry) {
	for _, name := range names {
		entries = append(entries, entry("host-"+name, "192.0.2.1", api.AgentService{Port: 8525, Meta: map[string]string{MetaNode: name}}, passing))
	}
	return entries
}

func TestNodesThatLeft(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	registry := prometheus.NewRegistry()
	client := newTestClient(t, http.NotFoundHandler(), func(o *Options) { o.Registerer = registry })
	m := NewMembers(MembersOptions{Client: client, Service: "postfleet-node", StateFile: filepath.Join(t.TempDir(), "members.json"),
		Forget: 10 * time.Hour, Now: func() time.Time { return now }})
	reasons := func() map[string]string {
		got := map[string]string{}
		for _, member := range m.Members() {
			got[member.Name] = member.Reason
			if member.Healthy != (member.Reason == "") {
				t.Errorf("%+v", member)
			}
		}
		return got
	}
	check := func(step string, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, reasons()); diff != "" {
			t.Errorf("%s:\n%s", step, diff)
		}
	}
	const gone = "not registered in Consul since 2026-11-23T10:00:00Z"
	check("at first", map[string]string{})
	changed := m.Changed()
	m.take(listed("a", "b"))
	check("both there", map[string]string{"a": "", "b": ""})
	select {
	case <-changed:
	default:
		t.Error("the change was not told")
	}

	changed = m.Changed()
	m.take(listed("a", "b"))
	select {
	case <-changed:
		t.Error("a change was told, and nothing changed")
	default:
	}

	now = now.Add(time.Hour)
	m.take(listed("a"))
	check("b left", map[string]string{"a": "", "b": gone})
	want := `
# HELP postfleet_consul_members Nodes of the fleet by state: healthy, unhealthy, or gone, which are no longer registered.
# TYPE postfleet_consul_members gauge
postfleet_consul_members{state="gone"} 1
postfleet_consul_members{state="healthy"} 1
postfleet_consul_members{state="unhealthy"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "postfleet_consul_members"); err != nil {
		t.Error(err)
	}
	m.take(nil) // as when the token lost its rights: Consul then leaves things out
	check("all left", map[string]string{"a": "not registered in Consul since 2026-11-23T11:00:00Z", "b": gone})
	m.take(listed("b"))
	check("b is back", map[string]string{"a": "not registered in Consul since 2026-11-23T11:00:00Z", "b": ""})

	again := NewMembers(m.o)
	if diff := cmp.Diff(m.Members(), again.Members()); diff != "" {
		t.Errorf("after a restart:\n%s", diff)
	}
	now = now.Add(11 * time.Hour)
	again.take(listed("b"))
	if list := again.Members(); len(list) != 1 || list[0].Name != "b" {
		t.Errorf("a is not forgotten: %+v", list)
	}
}

func TestStateFileThatCannotBeRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "members.json")
	must(t, os.WriteFile(file, []byte("{half"), 0o600))
	m := NewMembers(MembersOptions{Client: newTestClient(t, http.NotFoundHandler()), StateFile: file})
	if len(m.Members()) != 0 {
		t.Error(m.Members())
	}
	m.take(listed("a"))
	if again := NewMembers(m.o); len(again.Members()) != 1 {
		t.Error("the file is not replaced")
	}
	m.o.StateFile = filepath.Join(file, "below-a-file")
	m.take(listed("a", "b")) // can't be kept, and is known all the same
	if len(m.Members()) != 2 {
		t.Error(m.Members())
	}
}

func TestMembersRun(t *testing.T) {
	const path = "/v1/health/service/postfleet-node"
	fail := make(chan bool, 1)
	fail <- true
	client := newTestClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-fail:
			http.Error(w, "No cluster leader", http.StatusInternalServerError)
			return
		default:
		}
		if r.URL.Path != path {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if r.URL.Query().Get("index") != "" {
			<-r.Context().Done() // nothing changes
			return
		}
		reply(w, 5, listed("mx1"))
	}))
	m := NewMembers(MembersOptions{Client: client, Service: "postfleet-node"})
	if m.Away() == "" {
		t.Error("members are up to date before Consul was asked")
	}
	stop := goUntil(t, m.Run)
	await(t, "members", func() bool { return len(m.Members()) == 1 && m.Away() == "" })
	want := []fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Healthy: true, Fit: true, Meta: map[string]string{MetaNode: "mx1"}}}
	if diff := cmp.Diff(want, m.Members()); diff != "" {
		t.Error(diff)
	}
	stop() // in the middle of a blocking query
	if m.Away() != "" {
		t.Errorf("the end counts as a failure: %s", m.Away())
	}
}
