package consul

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// followMembers keeps the members as an aggregator does.
func followMembers(t *testing.T, agent *lab.Consul, state string) (m *consul.Members, stop func()) {
	t.Helper()
	m = consul.NewMembers(consul.MembersOptions{Client: newClient(t, agent), Service: nodeService, MailService: mailService,
		Prefix: consul.DefaultPrefix, Keeper: true, StateFile: state})
	return m, run(t, m.Run)
}

// The members know what the mail service says, also after a restart while Consul is away.
func TestFitMembers(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	state := filepath.Join(t.TempDir(), "members.json")
	client := newClient(t, agent)
	health := map[string]*health{"mx1": newHealth(t), "mx2": newHealth(t)}
	for i, node := range []string{"mx1", "mx2"} {
		services := health[node].services(node, fmt.Sprintf("192.0.2.%d", i+1))
		services[0].Meta[consul.MetaHop] = ":8529"
		services[1].Weight = 10 * (i + 1)
		run(t, newRegistrar(client, services...).Run)
	}
	members, stop := followMembers(t, agent, state)
	type facts struct {
		Healthy, Fit bool
		Unfit, Hop   string
		Weight       int
	}
	are := func(m *consul.Members, want map[string]facts) func() error {
		return func() error {
			got := map[string]facts{}
			for _, member := range m.Members() {
				got[member.Name] = facts{member.Healthy, member.Fit, member.Unfit, member.Hop, member.Weight}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.New(diff)
			}
			return nil
		}
	}
	one, two := facts{true, true, "", "192.0.2.1:8529", 10}, facts{true, true, "", "192.0.2.2:8529", 20}
	eventually(t, 30*time.Second, are(members, map[string]facts{"mx1": one, "mx2": two}))
	health["mx2"].mail.Store(false)
	two.Fit, two.Unfit = false, "drain: drains since noon"
	eventually(t, 30*time.Second, are(members, map[string]facts{"mx1": one, "mx2": two}))

	must(t, agent.Kill())
	stop()
	again, _ := followMembers(t, agent, state)
	must(t, are(again, map[string]facts{"mx1": one, "mx2": two})())
	must(t, agent.Start(lab.Within(t, time.Minute)))
	health["mx2"].mail.Store(true)
	two.Fit, two.Unfit = true, ""
	eventually(t, 60*time.Second, are(again, map[string]facts{"mx1": one, "mx2": two}))
}

// A node that left for good is gone for every aggregator, and comes back when it registers again.
func TestForgetAndReturn(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	server := startAgent(t, l, lab.ConsulOptions{Name: "server"})
	host := startAgent(t, l, lab.ConsulOptions{Name: "host", Join: server})
	health := newHealth(t)
	registrar := newRegistrar(newClient(t, host), health.services("mx1", "192.0.2.1")...)
	stop := run(t, registrar.Run)
	first, _ := followMembers(t, server, "")
	state := filepath.Join(t.TempDir(), "members.json")
	second, stopSecond := followMembers(t, server, state)
	for _, members := range []*consul.Members{first, second} {
		eventually(t, 30*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Healthy && m.Fit }))
	}
	err := first.Forget(lab.Within(t, 10*time.Second), "mx1", "anna")
	if fleet.CodeOf(err) != fleet.CodeConflict {
		t.Errorf("a node that is well: %v", err)
	}
	none := func(m *consul.Members) func() error {
		return func() error {
			if list := m.Members(); len(list) != 0 {
				return fmt.Errorf("members %+v", list)
			}
			return nil
		}
	}

	// The host crashes. Consul still has its registrations.
	stop()
	must(t, host.Kill())
	eventually(t, 60*time.Second, oneMember(first, func(m fleet.Member) bool { return !m.Healthy && !m.Fit }))
	must(t, first.Forget(lab.Within(t, 10*time.Second), "mx1", "anna"))
	must(t, none(first)())
	eventually(t, 20*time.Second, none(second))
	stopSecond()
	third, _ := followMembers(t, server, state)
	must(t, none(third)()) // as it was kept
	eventually(t, 20*time.Second, func() error {
		if third.Away() != "" {
			return errors.New(third.Away())
		}
		return none(third)()
	})

	// It comes back as it was.
	must(t, host.Start(lab.Within(t, time.Minute)))
	run(t, registrar.Run)
	for _, members := range []*consul.Members{first, third} {
		eventually(t, 60*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Healthy }))
	}
	eventually(t, 20*time.Second, func() error {
		pair, _, err := asking(t, server, "").KV().Get(consul.DefaultPrefix+"/forgotten/mx1", nil)
		if err == nil && pair != nil {
			err = fmt.Errorf("still there: %s", pair.Value)
		}
		return err
	})
	// And its next trouble is shown.
	health.api.Store(false)
	eventually(t, 30*time.Second, oneMember(first, func(m fleet.Member) bool { return !m.Healthy }))
}

// What Consul's DNS makes of a node's mail address, weight and tags.
func TestMailAddresses(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	client, health := newClient(t, agent), newHealth(t)
	for i, address := range []string{"192.0.2.1", "2001:db8::2", "mx3.example.com"} {
		service := health.services(fmt.Sprintf("mx%d", i+1), address)[1]
		service.Weight = 1000 * (i + 1)
		service.Tags = []string{[]string{"primary", "backup", "named"}[i]}
		run(t, newRegistrar(client, service).Run)
	}
	eventually(t, 30*time.Second, fit(asking(t, agent, ""), mailService, 3))
	const name = mailService + ".service.consul."
	for _, tc := range []struct {
		name string
		kind uint16
		want []string
	}{
		{name, dns.TypeA, []string{"A 192.0.2.1"}}, // beside addresses a name is left out
		{name, dns.TypeAAAA, []string{"AAAA 2001:db8::2"}},
		{name, dns.TypeSRV, []string{"SRV 1 1000 25 c0000201.addr.dc1.consul.", "SRV 1 2000 25 20010db8000000000000000000000002.addr.dc1.consul.", "SRV 1 3000 25 mx3.example.com."}},
		{"primary." + name, dns.TypeA, []string{"A 192.0.2.1"}},
		{"backup." + name, dns.TypeA, nil},
		{"backup." + name, dns.TypeAAAA, []string{"AAAA 2001:db8::2"}},
		{"named." + name, dns.TypeA, []string{"CNAME mx3.example.com."}},
	} {
		t.Run(tc.name+dns.TypeToString[tc.kind], func(t *testing.T) {
			got, err := answers(agent.DNS, tc.name, tc.kind)
			must(t, err)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// answers asks over TCP, where nothing is cut.
func answers(server, name string, kind uint16) (list []string, err error) {
	answer, _, err := (&dns.Client{Net: "tcp", Timeout: 2 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name, kind), server)
	if err != nil {
		return nil, err
	}
	for _, record := range answer.Answer {
		switch r := record.(type) {
		case *dns.A:
			list = append(list, "A "+r.A.String())
		case *dns.AAAA:
			list = append(list, "AAAA "+r.AAAA.String())
		case *dns.CNAME:
			list = append(list, "CNAME "+r.Target)
		case *dns.SRV:
			list = append(list, fmt.Sprintf("SRV %d %d %d %s", r.Priority, r.Weight, r.Port, r.Target))
		}
	}
	slices.Sort(list)
	return list, nil
}
