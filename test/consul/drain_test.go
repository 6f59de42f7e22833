package consul

import (
	"bytes"
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// allowed is how long Consul's DNS may take to follow. The figures are printed beside it and not held against it: a host
// that does ten other things at a time takes as long as it takes.
const allowed = 10 * time.Second

// site is two nodes with real Postfix, their Consul and an aggregator.
type site struct {
	*lab.Fleet
	*lab.Lab
	sink string // takes everything
}

// waits is the domain of mail that waits until it has a route.
const waits = "waits.example"

func startSite(t *testing.T) *site {
	t.Helper()
	if _, err := lab.ConsulBinary(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	s := &site{Lab: lab.ForTest(t)}
	var err error
	ctx := lab.Within(t, 3*time.Minute)
	s.sink, err = s.StartSink(ctx, lab.SinkOptions{Name: waits})
	must(t, err)
	s.Fleet, err = s.StartFleet(ctx, lab.FleetOptions{Binary: binary, Nodes: 2, Consul: true, Domains: []string{"shop.example"},
		Routes: map[string]string{waits: "127.0.0.1:1"}, Retry: time.Hour})
	must(t, err)
	return s
}

// postfleet runs the command line, on the host of a node or against the aggregator.
func (s *site) postfleet(t *testing.T, want int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(lab.Within(t, time.Minute), binary, args...)
	cmd.Env = append(os.Environ(), "POSTFLEET_URL="+s.Aggregator.URL, "POSTFLEET_TOKEN="+s.Aggregator.Token)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if status := cmd.ProcessState.ExitCode(); status != want {
		t.Fatalf("%s: status %d, want %d: %s", strings.Join(args, " "), status, want, &out)
	}
	return out.String()
}

func (s *site) drain(t *testing.T, want int, args ...string) string {
	t.Helper()
	return s.postfleet(t, want, append([]string{args[0], "--config", s.Nodes[0].Config}, args[1:]...)...)
}

// follows changes something, waits until Consul's DNS answers with these nodes, and tells how long that takes together.
func (s *site) follows(t *testing.T, what string, change func(), nodes ...*lab.Node) {
	t.Helper()
	began := time.Now()
	change()
	want := make([]string, len(nodes))
	for i, node := range nodes {
		host, _, _ := strings.Cut(node.Postfix.Addr, ":")
		want[i] = "A " + host
	}
	eventually(t, 60*time.Second, func() error {
		got, err := answers(s.Agent.DNS, mailService+".service.consul.", dns.TypeA)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("%s: DNS answers %v, want %v", what, got, want)
		}
		return err
	})
	t.Logf("%-28s %5.1f s of %s", what, time.Since(began).Seconds(), allowed)
}

// send leaves mail in a node's queue.
func (s *site) send(t *testing.T, node *lab.Node, subject string) {
	t.Helper()
	_, err := lab.Client{}.Send(lab.Within(t, time.Minute), node.Postfix.Addr, lab.Mail{From: "orders@shop.example", To: []string{"bob@" + waits}, Subject: subject, ID: lab.NewID()})
	must(t, err)
}

// A node is drained, as its administrator does it, and comes back; DNS follows within 10 s of every change.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	n1, n2 := s.Nodes[0], s.Nodes[1]
	s.follows(t, "both up", func() {}, n1, n2)

	s.send(t, n1, "waits")
	session, err := smtp.Dial(n1.Postfix.Addr)
	must(t, err)
	defer session.Close()
	must(t, session.Hello("client.example.com"))
	s.follows(t, "drained", func() {
		if out := s.drain(t, 0, "drain", "--reason", "kernel"); out != "1 message left, 1 SMTP session open\n" {
			t.Errorf("drain: %q", out)
		}
	}, n2)
	if out := s.postfleet(t, 0, "node", "list"); !strings.Contains(out, "draining: 1 message left, 1 SMTP session open") {
		t.Errorf("node list:\n%s", out)
	}
	must(t, session.Mail("orders@shop.example")) // who is there is served
	must(t, session.Rcpt("bob@"+waits))
	body, err := session.Data()
	must(t, err)
	_, err = body.Write([]byte("From: orders@shop.example\r\nSubject: still served\r\n\r\nhello\r\n"))
	must(t, errors.Join(err, body.Close(), session.Quit()))
	if out := s.drain(t, 1, "drain", "--wait", "--timeout", "3s"); !strings.Contains(out, "not drained after 3s: 2 messages left, 0 SMTP sessions open") {
		t.Errorf("drain --wait: %q", out)
	}

	// Over a restart of the daemon, killed as by a host that goes down.
	s.follows(t, "drained, started again", func() {
		must(t, n1.Kill())
		must(t, n1.Start(lab.Within(t, time.Minute)))
	}, n2)
	must(t, n1.Postfix.Route(lab.Within(t, time.Minute), waits, s.sink))
	must(t, n1.Postfix.Flush(lab.Within(t, time.Minute)))
	if out := s.postfleet(t, 0, "node", "drain", "n1", "--wait", "--timeout", "30s"); !strings.HasSuffix(out, "nothing is left: safe to reboot\n") {
		t.Errorf("node drain --wait: %q", out)
	}
	s.follows(t, "undrained", func() {
		if out := s.drain(t, 0, "undrain"); out != "the node takes mail\n" {
			t.Errorf("undrain: %q", out)
		}
	}, n1, n2)
	s.follows(t, "drained by the aggregator", func() { s.postfleet(t, 0, "node", "drain", "n1", "--reason", "from afar") }, n2)
	s.follows(t, "undrained by the aggregator", func() { s.postfleet(t, 0, "node", "undrain", "n1") }, n1, n2)
}

// Faults, and a queue over the limit that the fleet's settings have at this moment.
func TestDNSFollows(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	n1, n2 := s.Nodes[0], s.Nodes[1]
	s.follows(t, "both up", func() {}, n1, n2)
	s.follows(t, "Postfix stopped", func() { must(t, n1.Postfix.Stop()) }, n2)
	s.follows(t, "Postfix started", func() { must(t, n1.Postfix.Start(lab.Within(t, time.Minute))) }, n1, n2)
	s.follows(t, "node daemon killed", func() { must(t, n1.Kill()) }, n2)
	s.follows(t, "node daemon started", func() { must(t, n1.Start(lab.Within(t, time.Minute))) }, n1, n2)

	for i := range 4 {
		s.send(t, n1, fmt.Sprintf("waits %d", i))
	}
	settings, _ := follow(t, s.Agent, "")
	eventually(t, 20*time.Second, func() error {
		if away := settings.Away(); away != "" {
			return errors.New(away)
		}
		return nil
	})
	limited := fleet.Settings{Relay: fleet.Relay{Mode: fleet.RelayOff, MaxQueue: 3}, ChangeBy: "anna"}
	s.follows(t, "queue over its limit", func() { must(t, settings.Put(lab.Within(t, 20*time.Second), limited)) }, n2)
	members, _ := followMembers(t, s.Agent, "")
	eventually(t, 20*time.Second, func() error {
		for _, member := range members.Members() {
			if member.Name == "n1" && !member.Fit && member.Unfit == "queue: 4 messages of at most 3" {
				return nil
			}
		}
		return fmt.Errorf("members %+v", members.Members())
	})
	s.follows(t, "queue short again", func() {
		_, err := s.Run(lab.Within(t, time.Minute), "postsuper", "-c", n1.Postfix.Conf, "-d", "ALL")
		must(t, err)
	}, n1, n2)
}

// A node that left for good, with its daemon stopped in good order.
func TestForgetNode(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	n2 := s.Nodes[1]
	there := func() {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			if out := s.postfleet(t, 0, "node", "list"); !regexp.MustCompile(`(?m)^n2 .* ok$`).MatchString(out) {
				return errors.New(out)
			}
			return nil
		})
	}
	there()
	if out := s.postfleet(t, 1, "node", "forget", "n2"); !strings.Contains(out, "stop its daemon first") {
		t.Errorf("forget a node that is well: %q", out)
	}
	must(t, n2.Stop())
	eventually(t, 30*time.Second, func() error {
		if out := s.postfleet(t, 0, "node", "list"); !strings.Contains(out, "not registered in Consul since") {
			return errors.New(out)
		}
		return nil
	})
	s.postfleet(t, 0, "node", "forget", "n2")
	if out := s.postfleet(t, 0, "node", "list"); strings.Contains(out, "n2 ") {
		t.Errorf("after it was forgotten:\n%s", out)
	}
	audit, err := os.ReadFile(s.Path("aggregator", "audit.log"))
	must(t, err)
	if !strings.Contains(string(audit), "forget") {
		t.Errorf("the audit log says nothing of it:\n%s", audit)
	}
	must(t, n2.Start(lab.Within(t, time.Minute)))
	there()
}
