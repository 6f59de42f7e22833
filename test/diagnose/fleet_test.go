package diagnose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/apiclient"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// world is a fleet of two real nodes whose resolver is a real BIND.
type world struct {
	lab    *lab.Lab
	bind   *lab.Bind
	fleet  *lab.Fleet
	remote *lab.World
	api    *apiclient.Client
}

const adminKey = "admin"

func startWorld(t *testing.T, ctx context.Context) *world {
	t.Helper()
	w := &world{lab: lab.ForTest(t)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	// n2's address is missing in SPF, and n2 has no PTR.
	w.bind, err = w.lab.StartBind(ctx, lab.BindOptions{Name: "dns", Keys: []string{adminKey}, Policy: map[string]string{".": "grant admin zonesub ANY;"},
		Zones: map[string]string{".": `1.1.0.127.in-addr.arpa. PTR n1.fleet.example.
n1.fleet.example. A 127.0.1.1
n1.fleet.example. TXT "v=spf1 a -all"
n2.fleet.example. A 127.0.2.1
good.example. TXT "v=spf1 ip4:127.0.1.1 -all"
_dmarc.good.example. TXT "v=DMARC1; p=reject; rua=mailto:dmarc@good.example"`}})
	must(err)
	w.remote, err = w.lab.StartWorld(ctx, lab.Remotes)
	must(err)
	extra := fmt.Sprintf("dns: {resolvers: [%q], timeout: 1s}\ndiagnose: {every: 0, blocklists: [], domain_blocklists: []}\n", w.bind.Addr)
	w.fleet, err = w.lab.StartFleet(ctx, lab.FleetOptions{Binary: binary, Nodes: 2, Domains: []string{"good.example"}, Routes: w.remote.Routes,
		NodeExtra: func(string) string { return extra }})
	must(err)
	for _, node := range w.fleet.Nodes {
		must(w.publish(ctx, node.Name))
	}
	w.api, err = apiclient.New(apiclient.Options{URL: w.fleet.Aggregator.URL, Token: w.fleet.Aggregator.Token})
	must(err)
	t.Cleanup(w.api.Close)
	return w
}

// publish puts the records of a node's keys into BIND.
func (w *world) publish(ctx context.Context, node string) error {
	out, err := w.lab.Run(ctx, binary, "dkim", "dns", "--json", "--keys-dir", w.lab.Path("keys-"+node), "--selector", node, "--node", node)
	if err != nil {
		return err
	}
	var records []struct{ Name, Text string }
	if err := json.Unmarshal(out, &records); err != nil {
		return err
	}
	for _, r := range records {
		if err := w.bind.Update(ctx, adminKey, ".", "update add "+r.Name+". 1 TXT "+txt(r.Text)); err != nil {
			return err
		}
	}
	return nil
}

// look has all nodes look and gives what each found.
func (w *world) look(t *testing.T, ctx context.Context) map[string]*fleet.Diagnosis {
	t.Helper()
	begun, err := w.api.Diagnose(ctx, aggregator.DiagnosisWish{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range begun.Nodes {
		if n.Error != "" || n.Diagnoses.Running == nil && n.Diagnoses.Latest == nil {
			t.Fatalf("not begun: %+v", n)
		}
	}
	found := map[string]*fleet.Diagnosis{}
	err = lab.Until(ctx, func(ctx context.Context) error {
		answer, err := w.api.Diagnosis(ctx, "")
		if err != nil {
			return err
		}
		for _, n := range answer.Nodes {
			if n.Diagnoses == nil || n.Diagnoses.Running != nil || n.Diagnoses.Latest == nil {
				return fmt.Errorf("node %s has not finished: %s", n.Node, n.Error)
			}
			found[n.Node] = n.Diagnoses.Latest
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func grade(t *testing.T, d *fleet.Diagnosis, check string, want fleet.Grade) *fleet.Finding {
	t.Helper()
	found := d.Finding(check)
	if found == nil {
		t.Fatalf("%s has no %s", d.Node, check)
	}
	if found.Grade != want {
		t.Errorf("%s: %s is %s, not %s: %+v", d.Node, check, found.Grade, want, found.Parts)
	}
	return found
}

// Two nodes look at themselves through the whole way: page's API, node API, daemon, real Postfix and real BIND.
func TestFleet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	w := startWorld(t, ctx)
	found := w.look(t, ctx)
	for _, node := range []string{"n1", "n2"} {
		for _, check := range []string{"spf-lookups", "spf-all", "dkim-record", "dkim-probe", "dkim-unique", "dmarc", "milter", "open-relay", "limits-fleet", "queue", "resolver"} {
			grade(t, found[node], check, fleet.GradePass)
		}
		grade(t, found[node], "smuggling", fleet.GradeFail) // the lab's Postfix is as its version has it by default
	}
	for _, check := range []string{"ptr", "helo", "spf", "spf-helo"} {
		grade(t, found["n1"], check, fleet.GradePass)
	}
	if lacks := grade(t, found["n1"], "spf-fleet", fleet.GradeFail); !strings.Contains(lacks.Parts[0].Seen, "n2 (127.0.2.1)") ||
		!slices.Contains(lacks.Parts[0].Mend, `good.example. IN TXT "v=spf1 ip4:127.0.2.1 ip4:127.0.1.1 -all"`) {
		t.Errorf("spf-fleet: %+v", lacks.Parts[0])
	}
	grade(t, found["n2"], "ptr", fleet.GradeFail)
	grade(t, found["n2"], "spf", fleet.GradeFail)

	t.Run("what was mended stands out", func(t *testing.T) {
		err := w.bind.Update(ctx, adminKey, ".", "update delete good.example. TXT", `update add good.example. 1 TXT "v=spf1 ip4:127.0.1.1 ip4:127.0.2.1 -all"`,
			"update add 1.2.0.127.in-addr.arpa. 1 PTR n2.fleet.example.")
		if err != nil {
			t.Fatal(err)
		}
		mended := w.look(t, ctx)
		for _, check := range []string{"ptr", "spf"} {
			if f := grade(t, mended["n2"], check, fleet.GradePass); f.Was != fleet.GradeFail {
				t.Errorf("%s was %q", check, f.Was)
			}
		}
		grade(t, mended["n1"], "spf-fleet", fleet.GradePass)
		answer, err := w.api.Diagnosis(ctx, "n2")
		if err != nil {
			t.Fatal(err)
		}
		history := answer.Nodes[0].Diagnoses.History
		if len(history) != 2 || !slices.ContainsFunc(history[0].Changes, func(c fleet.GradeChange) bool {
			return c == fleet.GradeChange{Check: "ptr", From: fleet.GradeFail, To: fleet.GradePass}
		}) {
			t.Errorf("history %+v", history)
		}
		if text := metrics(t, ctx, w.fleet.Nodes[1].Status); !strings.Contains(text, `postfleet_diagnose_result{check="ptr",result="pass"} 1`) ||
			!strings.Contains(text, `postfleet_diagnose_result{check="ptr",result="fail"} 0`) || !strings.Contains(text, `postfleet_diagnose_runs_total{cause="operator"} 2`) {
			t.Errorf("metrics:\n%s", text)
		}
	})
	t.Run("on the host", func(t *testing.T) { w.onTheHost(t, ctx) })
	t.Run("test message", func(t *testing.T) { w.testMessage(t, ctx) })
	t.Run("the resolver goes", func(t *testing.T) {
		if err := w.bind.Stop(); err != nil {
			t.Fatal(err)
		}
		gone := w.look(t, ctx)
		for _, d := range gone {
			for _, check := range []string{"ptr", "helo", "spf", "spf-fleet", "spf-lookups", "spf-all", "dkim-record", "dkim-probe", "dmarc", "resolver"} {
				grade(t, d, check, fleet.GradeUnknown)
			}
		}
	})
}

func metrics(t *testing.T, ctx context.Context, status string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+status+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "postfleet_diagnose") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// onTheHost runs the command beside the daemon, and after the daemon ended.
func (w *world) onTheHost(t *testing.T, ctx context.Context) {
	node := w.fleet.Nodes[0]
	run := func(args ...string) (*fleet.Diagnosis, string, int) {
		t.Helper()
		var out, failed bytes.Buffer
		cmd := exec.CommandContext(ctx, binary, append([]string{"diagnose", "--config", node.Config, "--json"}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &failed
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		var d fleet.Diagnosis
		if err := json.Unmarshal(out.Bytes(), &d); err != nil {
			t.Fatalf("%v: %s %s", err, &out, &failed)
		}
		return &d, failed.String(), cmd.ProcessState.ExitCode()
	}
	d, said, code := run()
	if d.Cause != fleet.CauseHost || code != 1 || !strings.Contains(said, "a check failed") || strings.Contains(said, "daemon is not asked") {
		t.Errorf("beside the daemon: exit %d, cause %s, %s", code, d.Cause, said)
	}
	grade(t, d, "spf", fleet.GradePass)
	// The aggregator tells the nodes of each other, also without a run from the page.
	if parts := d.Finding("clock").Parts; !slices.ContainsFunc(parts, func(p fleet.Part) bool { return p.Subject == "other nodes" && p.Grade == fleet.GradePass }) {
		t.Errorf("clock: %+v", parts)
	}
	d, said, _ = run("--local", "spf", "dkim-record")
	if !strings.Contains(said, "daemon is not asked") || len(d.Findings) != 2 {
		t.Errorf("--local: %d findings, %s", len(d.Findings), said)
	}
	grade(t, d, "spf", fleet.GradePass)
	grade(t, d, "dkim-record", fleet.GradePass)
	if _, err := w.lab.Run(ctx, binary, "diagnose", "--config", node.Config, "spam"); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("an unknown check: %v", err)
	}
}

// testMessage sends one to a server that takes it, and one to a server that doesn't.
func (w *world) testMessage(t *testing.T, ctx context.Context) {
	answer, err := w.api.SendTest(ctx, aggregator.TestWish{Node: "n1", To: "you@accept.example"})
	if err != nil {
		t.Fatal(err)
	}
	sent := answer.Messages[0].Message
	if sent == nil || sent.From != "postmaster@good.example" || sent.QueueID == "" {
		t.Fatalf("%+v", answer.Messages)
	}
	err = lab.Until(ctx, func(ctx context.Context) error {
		list, err := w.api.Messages(ctx, fleet.Query{MessageID: sent.MessageID}, "")
		if err != nil {
			return err
		}
		if len(list.Messages) != 1 || list.Messages[0].QueueID != sent.QueueID || list.Messages[0].Fate() != fleet.FateDelivered || len(list.Messages[0].Signatures) == 0 {
			return fmt.Errorf("not delivered yet: %+v", list.Messages)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	w.arrives(t, ctx)
	if _, err := w.api.SendTest(ctx, aggregator.TestWish{Node: "n1", To: "you@norcpt.example"}); err != nil {
		t.Fatal(err)
	}
	// The bounce comes back to the sender: the fleet sees it as mail from the null sender to that address.
	err = lab.Until(ctx, func(ctx context.Context) error {
		list, err := w.api.Messages(ctx, fleet.Query{Sender: fleet.NullSender, Recipient: "postmaster@good.example"}, "")
		if err != nil {
			return err
		}
		if len(list.Messages) == 0 {
			return errors.New("no bounce yet")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := w.api.SendTest(ctx, aggregator.TestWish{Node: "n1", To: "you@accept.example\r\nRCPT TO:<x@y>"}); err == nil {
		t.Error("an address with a line end was taken")
	}
	limited := false
	for range 8 {
		_, err := w.api.SendTest(ctx, aggregator.TestWish{Node: "n2", To: "you@accept.example"})
		limited = limited || err != nil && strings.Contains(err.Error(), "several test messages")
	}
	if !limited {
		t.Error("test messages are not limited")
	}
}

// arrives sends a test message from n1 to n2, with a filter on the way that writes what it thinks of it.
func (w *world) arrives(t *testing.T, ctx context.Context) {
	t.Helper()
	const said = "filter.example; spf=pass smtp.mailfrom=good.example; dkim=pass header.d=good.example"
	file, err := w.lab.WriteFile("filter", []byte("/^X-Postfleet-Test:/ PREPEND Authentication-Results: "+said+"\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	n1, n2 := w.fleet.Nodes[0].Postfix, w.fleet.Nodes[1].Postfix
	if _, err := w.lab.Run(ctx, "postconf", "-c", n1.Conf, "-e", "smtp_header_checks = regexp:"+file); err != nil {
		t.Fatal(err)
	}
	if err := n1.Route(ctx, "inbound.example", n2.Addr); err != nil {
		t.Fatal(err)
	}
	answer, err := w.api.SendTest(ctx, aggregator.TestWish{Node: "n1", To: "you@inbound.example"})
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Until(ctx, func(ctx context.Context) error {
		list, err := w.api.Messages(ctx, fleet.Query{MessageID: answer.Messages[0].Message.MessageID, Node: "n2"}, "")
		if err != nil {
			return err
		}
		if len(list.Messages) != 1 || len(list.Messages[0].AuthResults) != 1 || list.Messages[0].AuthResults[0] != said {
			return fmt.Errorf("not arrived with its results: %+v", list.Messages)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Nodes that know each other through Consul ask each other, without an aggregator's word.
func TestFleetInConsul(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	l := lab.ForTest(t)
	server, err := l.StartBind(ctx, lab.BindOptions{Name: "dns", Zones: map[string]string{".": `good.example. TXT "v=spf1 ip4:127.0.1.1 ip4:127.0.2.1 -all"`}})
	if err != nil {
		t.Fatal(err)
	}
	extra := fmt.Sprintf("dns: {resolvers: [%q], timeout: 1s}\ndiagnose: {every: 0}\n", server.Addr)
	f, err := l.StartFleet(ctx, lab.FleetOptions{Binary: binary, Nodes: 2, Domains: []string{"good.example"}, Consul: true, NodeExtra: func(string) string { return extra }})
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Until(ctx, func(ctx context.Context) error {
		var out, said bytes.Buffer
		cmd := exec.CommandContext(ctx, binary, "diagnose", "--config", f.Nodes[0].Config, "--json", "spf-fleet", "dkim-unique", "clock")
		cmd.Stdout, cmd.Stderr = &out, &said
		_ = cmd.Run() // fails while a check does
		var d fleet.Diagnosis
		if err := json.Unmarshal(out.Bytes(), &d); err != nil {
			return fmt.Errorf("%w: %s %s", err, &out, &said)
		}
		for _, check := range []string{"spf-fleet", "dkim-unique"} {
			if found := d.Finding(check); found == nil || found.Grade != fleet.GradePass {
				return fmt.Errorf("%s: %+v", check, found)
			}
		}
		if clock := d.Finding("clock"); clock == nil || !slices.ContainsFunc(clock.Parts, func(p fleet.Part) bool {
			return p.Subject == "other nodes" && p.Grade == fleet.GradePass
		}) {
			return fmt.Errorf("clock: %+v", clock)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
