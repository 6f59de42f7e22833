package consul

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

func TestRegistration(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	client, ask, health := newClient(t, agent), asking(t, agent, ""), newHealth(t)
	registrar := newRegistrar(client, health.services("mx1", "192.0.2.1")...)
	stop := run(t, registrar.Run)

	eventually(t, 20*time.Second, fit(ask, nodeService, 1))
	entries, _, err := ask.Health().Service(nodeService, "", true, nil)
	must(t, err)
	service := entries[0].Service
	want := health.services("mx1", "192.0.2.1")[0]
	got := consul.Service{ID: service.ID, Name: service.Service, Address: service.Address, Port: service.Port, Meta: service.Meta, Check: want.Check}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	t.Run("an operator takes it away", func(t *testing.T) {
		must(t, ask.Agent().ServiceDeregister(want.ID))
		eventually(t, 20*time.Second, fit(ask, nodeService, 1))
	})
	t.Run("its check is taken away", func(t *testing.T) {
		must(t, ask.Agent().CheckDeregister("check:"+want.ID))
		eventually(t, 20*time.Second, func() error {
			checks, err := ask.Agent().Checks()
			if err == nil && checks["check:"+want.ID] == nil {
				err = errors.New("no check")
			}
			return err
		})
	})
	t.Run("the agent is killed and comes back knowing nothing", func(t *testing.T) {
		must(t, agent.Kill())
		must(t, agent.Forget())
		must(t, agent.Start(lab.Within(t, time.Minute)))
		eventually(t, 30*time.Second, fit(ask, nodeService, 1))
		eventually(t, 30*time.Second, fit(ask, mailService, 1))
	})
	t.Run("a clean stop", func(t *testing.T) {
		stop()
		must(t, registrar.Deregister(lab.Within(t, 10*time.Second)))
		services, err := ask.Agent().Services()
		if err != nil || len(services) != 0 {
			t.Errorf("left: %v, %v", services, err)
		}
	})
}

// A registration that stands is left alone: each one would be written by the servers, and wake every watcher.
func TestRegistrationStands(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	registry := prometheus.NewRegistry()
	client, health := newClient(t, agent, func(o *consul.Options) { o.Registerer = registry }), newHealth(t)
	var looks atomic.Int32
	registrar := consul.NewRegistrar(consul.RegistrarOptions{Client: client, Every: 100 * time.Millisecond, CheckEvery: time.Second,
		Services: func() []consul.Service {
			looks.Add(1)
			return health.services("mx1", "192.0.2.1")
		}})
	run(t, registrar.Run)
	eventually(t, 20*time.Second, fit(asking(t, agent, ""), nodeService, 1))
	health.mail.Store(false) // the state of a check changes, and the registration doesn't
	seen := looks.Load()
	eventually(t, 20*time.Second, func() error {
		if n := looks.Load() - seen; n < 30 {
			return fmt.Errorf("%d looks at the registration", n)
		}
		return nil
	})
	const metric = "postfleet_consul_registrations_total"
	want := strings.NewReader("# HELP " + metric + " Registrations of a service with the agent: at start, after a change, and when the agent had lost it.\n" +
		"# TYPE " + metric + " counter\n" + metric + " 2\n")
	if err := testutil.GatherAndCompare(registry, want, metric); err != nil {
		t.Errorf("of two services: %v", err)
	}
}

// Three nodes on one agent, as in the demo: Consul's DNS balances over those whose mail check holds.
func TestMailBalancing(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	client := newClient(t, agent)
	nodes := map[string]*health{}
	for i := range 3 {
		address := fmt.Sprintf("192.0.2.%d", i+1)
		nodes[address] = newHealth(t)
		run(t, newRegistrar(client, nodes[address].services("mx"+strconv.Itoa(i+1), address)...).Run)
	}
	answers := func(want ...string) func() error {
		return func() error {
			got, err := lookup(agent.DNS, mailService+".service.consul.")
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("DNS answers %v, want %v", got, want)
			}
			return err
		}
	}
	eventually(t, 30*time.Second, answers("192.0.2.1", "192.0.2.2", "192.0.2.3"))
	nodes["192.0.2.2"].mail.Store(false)
	eventually(t, 30*time.Second, answers("192.0.2.1", "192.0.2.3"))
	must(t, fit(asking(t, agent, ""), nodeService, 3)()) // it can't send, and still answers about its messages
	nodes["192.0.2.2"].mail.Store(true)
	eventually(t, 30*time.Second, answers("192.0.2.1", "192.0.2.2", "192.0.2.3"))
}

func lookup(server, name string) ([]string, error) {
	query := new(dns.Msg).SetQuestion(name, dns.TypeA)
	answer, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(query, server)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			addresses = append(addresses, a.A.String())
		}
	}
	slices.Sort(addresses)
	return addresses, nil
}

func TestMembers(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	client, health := newClient(t, agent), newHealth(t)
	members := consul.NewMembers(consul.MembersOptions{Client: client, Service: nodeService})
	run(t, members.Run)
	registrar := newRegistrar(client, health.services("mx1", "192.0.2.1")...)
	stop := run(t, registrar.Run)

	eventually(t, 20*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Healthy }))
	want := fleet.Member{Name: "mx1", API: "https://192.0.2.1:8525", Healthy: true, Fit: true, Meta: health.services("mx1", "192.0.2.1")[0].Meta}
	if diff := cmp.Diff([]fleet.Member{want}, members.Members()); diff != "" {
		t.Error(diff)
	}
	health.api.Store(false)
	eventually(t, 20*time.Second, oneMember(members, func(m fleet.Member) bool {
		return !m.Healthy && m.Reason != "" && m.API == want.API
	}))
	t.Log(members.Members()[0].Reason)
	health.api.Store(true)
	eventually(t, 20*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Healthy && m.Reason == "" }))

	must(t, asking(t, agent, "").Agent().EnableServiceMaintenance(nodeService+"-mx1", "for the test"))
	eventually(t, 20*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Reason == "in Consul's maintenance mode" }))

	stop()
	must(t, registrar.Deregister(lab.Within(t, 10*time.Second)))
	eventually(t, 20*time.Second, oneMember(members, func(m fleet.Member) bool {
		return !m.Healthy && len(m.Reason) > 30 && m.Reason[:30] == "not registered in Consul since"
	}))
}

// oneMember is a check for eventually: there is one member, and it is as wanted.
func oneMember(members *consul.Members, as func(fleet.Member) bool) func() error {
	return func() error {
		list := members.Members()
		if len(list) != 1 || !as(list[0]) {
			return fmt.Errorf("members are %+v, Consul away: %q", list, members.Away())
		}
		return nil
	}
}

// The members of a client agent stay while its servers are away, over a restart of the aggregator too; what happened
// meanwhile arrives when they are back.
func TestServersAway(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	server := startAgent(t, l, lab.ConsulOptions{Name: "server"})
	agent := startAgent(t, l, lab.ConsulOptions{Name: "client", Join: server})
	health, state := newHealth(t), t.TempDir()+"/members.json"
	client := newClient(t, agent)
	run(t, newRegistrar(client, health.services("mx1", "192.0.2.1")...).Run)
	options := consul.MembersOptions{Client: client, Service: nodeService, StateFile: state}
	members := consul.NewMembers(options)
	stop := run(t, members.Run)
	healthy := func(m fleet.Member) bool { return m.Name == "mx1" && m.Healthy }
	eventually(t, 30*time.Second, oneMember(members, healthy))

	must(t, server.Kill())
	eventually(t, 30*time.Second, func() error {
		if members.Away() == "" {
			return errors.New("nobody noticed")
		}
		return nil
	})
	t.Log(members.Away())
	must(t, oneMember(members, healthy)())
	stop()
	members = consul.NewMembers(options)
	must(t, oneMember(members, healthy)())
	run(t, members.Run)
	other := newHealth(t)
	run(t, newRegistrar(client, other.services("mx2", "192.0.2.2")...).Run)

	must(t, server.Start(lab.Within(t, time.Minute)))
	eventually(t, 60*time.Second, func() error {
		if list := members.Members(); len(list) != 2 || !list[0].Healthy || !list[1].Healthy || members.Away() != "" {
			return fmt.Errorf("members are %+v, Consul away: %q", list, members.Away())
		}
		return nil
	})
}

// Two hosts with one name are an error of configuration that must not look like one node.
func TestNameTakenTwice(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	server := startAgent(t, l, lab.ConsulOptions{Name: "a"})
	second := startAgent(t, l, lab.ConsulOptions{Name: "b", Join: server})
	health := newHealth(t)
	for _, agent := range []*lab.Consul{server, second} {
		run(t, newRegistrar(newClient(t, agent), health.services("mx1", "192.0.2.1")...).Run)
	}
	members := consul.NewMembers(consul.MembersOptions{Client: newClient(t, server), Service: nodeService})
	run(t, members.Run)
	eventually(t, 30*time.Second, oneMember(members, func(m fleet.Member) bool {
		return !m.Healthy && m.Reason == "2 hosts call themselves mx1: a and b"
	}))
}

// What is registered can be taken over by a later version with another check or meta.
func TestChangedService(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "n1"})
	ask, health := asking(t, agent, ""), newHealth(t)
	service := health.services("mx1", "192.0.2.1")[0]
	must(t, ask.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: service.ID, Name: service.Name, Address: "192.0.2.99",
		Check: &api.AgentServiceCheck{CheckID: "old", TTL: "1h"}}))
	run(t, newRegistrar(newClient(t, agent), service).Run)
	eventually(t, 20*time.Second, fit(ask, nodeService, 1))
	checks, err := ask.Agent().Checks()
	if err != nil || len(checks) != 1 || checks["check:"+service.ID] == nil {
		t.Errorf("checks %v, %v", checks, err)
	}
}
