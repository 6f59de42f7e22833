package ha

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// during and between are how many mails each sender gets rid of while a fault lasts, once the balancers know of it, and
// between two faults.
const during, between = 15, 15

// Under a steady load through DNS and through HAProxy everything that can befall a node befalls the first one, in
// every mode of relaying. Every accepted mail arrives, once; signed by a node that had it; the
// senders retry as SMTP has it; and the page tells each mail's true way.
func TestProof(t *testing.T) {
	ctx := lab.Within(t, 12*time.Minute)
	s := startSite(t, ctx, siteOptions{relay: "mode: off\n"})
	b, err := s.startHAProxy(ctx, shared)
	must(t, err)
	until(t, ctx, b.balances(s.nodes...))

	load := startLoad(ctx, s.throughDNS(), s.throughHAProxy())
	defer load.running.Wait()
	defer load.stop()
	run := &trial{site: s, balancer: b, load: load}
	run.mode(t, ctx, fleet.RelayOff)
	run.through(t, ctx, killPostfix)
	run.through(t, ctx, killDaemon)
	run.through(t, ctx, crashHost)
	run.mode(t, ctx, fleet.RelayBalance)
	run.through(t, ctx, killPostfix)
	run.through(t, ctx, crashHost)
	run.through(t, ctx, cutNetwork)
	run.through(t, ctx, s.drained())
	run.mode(t, ctx, fleet.RelayFailover)
	run.through(t, ctx, noWayOut)
	run.through(t, ctx, killDaemon)
	mails := load.end()

	ledger := &ledger{site: s, mails: mails, phases: run.phases}
	ledger.settle(t, ctx)
	t.Logf("one node of three; when its host is gone, so is the leader of Consul's servers:\n%s", table(run.figures))
	for _, f := range run.figures {
		if f.dns > allowed {
			t.Errorf("%s: still in the answer after %s", f.fault, f.dns)
		}
	}
	ledger.senders(t)
	ledger.copies(t)
	ledger.signatures(t)
	ledger.page(t, ctx)
}

// trial is a run of faults.
type trial struct {
	*site
	balancer *balancer
	load     *load
	phases   phases
	figures  []figures
	relaying fleet.RelayMode
}

// through has a fault strike and end, with quiet times before and after.
func (r *trial) through(t *testing.T, ctx context.Context, f fault) {
	t.Helper()
	if f.name == crashHost.name || f.name == cutNetwork.name {
		must(t, lead(ctx, r.nodes[0])) // as hard as it gets
	}
	name := string(r.relaying) + ": " + f.name
	r.phases.begin(name, f.name == leaves)
	var out figures
	if f.name == noWayOut.name {
		// The node is as fit as before: others carry its mail.
		must(t, f.strike(ctx, r.nodes[0]))
		r.load.goesOn(t, ctx, during)
		must(t, f.mend(ctx, r.nodes[0]))
	} else {
		out = r.strike(t, ctx, r.balancer, f)
		r.load.goesOn(t, ctx, during)
		r.site.mend(t, ctx, r.balancer, f, &out)
		out.fault = name
		r.figures = append(r.figures, out)
	}
	r.phases.begin(string(r.relaying)+": quiet", true)
	r.load.goesOn(t, ctx, between)
}

// mode switches relaying on the page, and waits until every node goes by it.
func (r *trial) mode(t *testing.T, ctx context.Context, mode fleet.RelayMode) {
	t.Helper()
	r.relaying = mode
	r.phases.begin("to "+string(mode), true)
	begin := time.Now()
	must(t, r.setRelay(ctx, fleet.Relay{Mode: mode}))
	until(t, ctx, func(ctx context.Context) error {
		var answer aggregator.RelayAnswer
		if err := r.get(ctx, "/relay", &answer); err != nil {
			return err
		}
		for _, node := range answer.Nodes {
			if node.State == nil || !node.Current || node.State.Mode != mode || !node.State.Wired {
				return fmt.Errorf("node %s: %+v %+v", node.Node, node, node.State)
			}
		}
		return nil
	})
	t.Logf("mode %s in force on all nodes after %s", mode, seconds(time.Since(begin)))
	r.load.goesOn(t, ctx, between)
}

// setRelay does what the form of the page does.
func (s *site) setRelay(ctx context.Context, relay fleet.Relay) error {
	return lab.Until(ctx, func(ctx context.Context) error {
		var now aggregator.RelayAnswer
		if err := s.get(ctx, "/relay", &now); err != nil {
			return err
		}
		return s.post(ctx, "/relay", aggregator.RelayChange{Index: now.Index, Relay: relay})
	})
}

// post sends an order to the JSON API.
func (s *site) post(ctx context.Context, path string, order any) error {
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.aggregator.URL+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.aggregator.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.front.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("POST %s: %s: %s", path, resp.Status, reason)
	}
	return nil
}
