package ha

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// fault is something that befalls a node, and how it ends.
type fault struct {
	name   string
	strike func(ctx context.Context, n *node) error
	mend   func(ctx context.Context, n *node) error
}

// postfixPrograms are what an instance consists of (master(5)).
var postfixPrograms = []string{"master", "smtpd", "qmgr", "pickup", "cleanup", "smtp", "trivial-rewrite", "bounce", "anvil", "tlsmgr",
	"proxymap", "scache", "postlogd", "showq", "flush", "error", "local", "verify"}

var (
	stopPostfix = fault{"Postfix stopped",
		func(_ context.Context, n *node) error { return n.postfix.Stop() },
		func(ctx context.Context, n *node) error { return n.postfix.Start(ctx) }}
	killPostfix = fault{"Postfix killed",
		func(_ context.Context, n *node) error {
			return n.host.Kill(func(comm string) bool { return slices.Contains(postfixPrograms, comm) })
		},
		func(ctx context.Context, n *node) error { return n.postfix.Start(ctx) }}
	stopDaemon = fault{"node daemon stopped",
		func(_ context.Context, n *node) error { return n.daemon.Stop() },
		func(ctx context.Context, n *node) error { return n.daemon.Start(ctx) }}
	killDaemon = fault{"node daemon killed",
		func(_ context.Context, n *node) error { return n.daemon.Kill() },
		func(ctx context.Context, n *node) error { return n.daemon.Start(ctx) }}
	crashHost = fault{"host crashed",
		func(ctx context.Context, n *node) error { return n.host.Crash(ctx) },
		func(ctx context.Context, n *node) error { return n.boot(ctx) }}
	cutNetwork = fault{"network cut",
		func(ctx context.Context, n *node) error { return n.host.Cut(ctx) },
		func(ctx context.Context, n *node) error { return n.host.Mend(ctx) }}
)

// boot brings a host back that crashed, in the order of its units.
func (n *node) boot(ctx context.Context) error {
	if err := n.host.Boot(ctx); err != nil {
		return err
	}
	if err := n.consul.StartUnready(); err != nil {
		return err
	}
	if err := n.postfix.Start(ctx); err != nil {
		return err
	}
	return n.daemon.StartUnready()
}

// fit is a check that the node says that it may be given mail, and that its agent has heard it.
func (n *node) fit(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.daemon.Status+"/healthz/mail", nil)
	if err != nil {
		return err
	}
	resp, err := n.host.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", n.name, resp.Status)
	}
	checks, err := n.consul.Checks(ctx)
	if err != nil {
		return err
	}
	for _, service := range []string{"smtp-out-", "smtp-out-proxy-"} {
		if state := checks["check:"+service+n.name]; state != "passing" {
			return fmt.Errorf("%s: Consul's agent says of %s: %q", n.name, service+n.name, state)
		}
	}
	return nil
}

// figures are what a fault took, in seconds since it struck or was mended.
type figures struct {
	fault          string
	dns, haproxy   time.Duration // until the node was out of the answer, or out of HAProxy's servers
	dnsBack, haBck time.Duration // until it was in again
}

// allowed is what the documents promise for DNS.
const allowed = 10 * time.Second

// table prints figures.
func table(list []figures) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tout of DNS\tout of HAProxy\tback in DNS\tback in HAProxy")
	for _, f := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.fault, seconds(f.dns), seconds(f.haproxy), seconds(f.dnsBack), seconds(f.haBck))
	}
	_ = w.Flush() // into memory
	return out.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// strike has a fault befall the first node and tells how long balancers kept sending to it.
func (s *site) strike(t *testing.T, ctx context.Context, b *balancer, f fault) figures {
	t.Helper()
	out := figures{fault: f.name}
	begin := time.Now()
	must(t, f.strike(ctx, s.nodes[0]))
	out.dns, out.haproxy = s.watch(t, ctx, begin, b, s.nodes[1:]...)
	return out
}

// mend ends the fault and waits until the node takes its share again.
func (s *site) mend(t *testing.T, ctx context.Context, b *balancer, f fault, out *figures) {
	t.Helper()
	begin := time.Now()
	must(t, f.mend(ctx, s.nodes[0]))
	// A host that boots is in the answer for a moment, as it was before it crashed, until its agent has looked.
	until(t, ctx, s.nodes[0].fit)
	out.dnsBack, out.haBck = s.watch(t, ctx, begin, b, s.nodes...)
}

// watch waits until DNS and HAProxy have these nodes.
func (s *site) watch(t *testing.T, ctx context.Context, begin time.Time, b *balancer, nodes ...*node) (dns, haproxy time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	inHAProxy := make(chan error, 1)
	go func() {
		err := lab.Until(ctx, b.balances(nodes...))
		haproxy = time.Since(begin)
		inHAProxy <- err
	}()
	err := lab.Until(ctx, s.answers(nodes...))
	dns = time.Since(begin)
	must(t, err)
	must(t, <-inHAProxy)
	return dns, haproxy
}
