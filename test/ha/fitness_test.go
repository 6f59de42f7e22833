package ha

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// limit is the queue from which on the nodes of TestFitness take no more.
const limit = 20

// queueTooLong fills the queue with mail that nobody takes.
var queueTooLong = fault{"queue over its limit",
	func(ctx context.Context, n *node) error {
		for i := range limit + 5 {
			mail := mailFor(fmt.Sprintf("waits %d", i))
			mail.To = []string{"bob@" + closedDomain}
			if err := n.postfix.Sendmail(ctx, *mail); err != nil {
				return err
			}
		}
		return nil
	},
	func(ctx context.Context, n *node) error {
		_, err := n.host.Run(ctx, "postsuper", "-c", n.postfix.Conf, "-d", "ALL")
		return err
	}}

// The answer for the mail service has all fit nodes and no others, soon after each change. What TestProof does under load
// isn't done here.
func TestFitness(t *testing.T) {
	ctx := lab.Within(t, 5*time.Minute)
	s := startSite(t, ctx, siteOptions{relay: fmt.Sprintf("max_queue: %d\n", limit)})
	b, err := s.startHAProxy(ctx, shared)
	must(t, err)
	until(t, ctx, b.balances(s.nodes...))
	var list []figures
	for _, f := range []fault{stopPostfix, stopDaemon, queueTooLong} {
		out := s.strike(t, ctx, b, f)
		s.mend(t, ctx, b, f, &out)
		list = append(list, out)
	}
	t.Logf("one node of three:\n%s", table(list))
	for _, f := range list {
		if f.dns > allowed {
			t.Errorf("%s: still in the answer after %s", f.fault, f.dns)
		}
	}

	t.Run("resolvers", func(t *testing.T) {
		need(t, "named", "unbound")
		resolvers, err := s.startResolvers(ctx, s.nodes[1])
		must(t, err)
		must(t, stopPostfix.strike(ctx, s.nodes[0]))
		begin := time.Now()
		for _, r := range resolvers {
			until(t, ctx, s.resolves(r, s.nodes[1:]...))
			t.Logf("%s: out of the answer after %s", r.name, seconds(time.Since(begin)))
		}
		must(t, stopPostfix.mend(ctx, s.nodes[0]))
		for _, r := range resolvers {
			until(t, ctx, s.resolves(r, s.nodes...))
		}
	})
}
