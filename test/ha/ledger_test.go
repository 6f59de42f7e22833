package ha

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// ledger holds what was handed over against what arrived and what the page says.
type ledger struct {
	*site
	mails   []*sent
	phases  phases
	arrived map[string][]*arrival
}

// settle waits until every accepted mail is at the sink; what deferred mail there is on a node that was away comes late.
func (l *ledger) settle(t *testing.T, ctx context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err := lab.Until(ctx, func(ctx context.Context) error {
		l.arrived = l.sink.taken()
		missing := 0
		for _, mail := range l.mails {
			if mail.last().cause == accepted && len(l.arrived[mail.id]) == 0 {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d accepted mails have not arrived", missing)
		}
		for _, n := range l.nodes {
			queue, err := n.postfix.Queue(ctx)
			if err != nil || len(queue) > 0 {
				return fmt.Errorf("%d mails are in the queue of %s (%w)", len(queue), n.name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	l.arrived = l.sink.taken()
}

// senders holds that every mail was accepted in the end, that nothing was refused for good, and that there was no reason to
// retry but a fault; there is none while a node drains.
func (l *ledger) senders(t *testing.T) {
	t.Helper()
	type key struct {
		phase, path string
	}
	counts := map[key]map[cause]int{}
	all := map[cause]int{}
	tries := map[int]int{}
	for _, mail := range l.mails {
		if mail.last().cause != accepted {
			t.Errorf("%s was not accepted: %+v", mail.id, mail.attempts)
		}
		tries[len(mail.attempts)]++
		for _, a := range mail.attempts {
			phase := l.phases.of(&a)
			at := key{phase.name, mail.path}
			if counts[at] == nil {
				counts[at] = map[cause]int{}
			}
			counts[at][a.cause]++
			all[a.cause]++
			if a.cause != accepted && phase.quiet {
				t.Errorf("%s: %s at %s: %s: %s", phase.name, mail.path, a.server, a.cause, a.detail)
			}
		}
	}
	if all[rejected] > 0 {
		t.Errorf("%d mails were refused for good", all[rejected])
	}
	causes := []cause{accepted, refused, unreached, hungUp, ambiguous, deferredBy, noAddress}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "when\tthrough")
	for _, c := range causes {
		fmt.Fprintf(w, "\t%s", c)
	}
	fmt.Fprintln(w)
	printed := map[string]bool{}
	for _, phase := range l.phases {
		if printed[phase.name] {
			continue
		}
		printed[phase.name] = true
		for _, path := range []string{"DNS", "HAProxy"} {
			fmt.Fprintf(w, "%s\t%s", phase.name, path)
			for _, c := range causes {
				fmt.Fprintf(w, "\t%d", counts[key{phase.name, path}][c])
			}
			fmt.Fprintln(w)
		}
	}
	_ = w.Flush() // into memory
	t.Logf("attempts of the senders:\n%s", &out)
	t.Logf("mails by attempts: %v", tries)
}

// copies holds that every mail arrived, and that a second copy has a reason that SMTP allows.
func (l *ledger) copies(t *testing.T) {
	t.Helper()
	logs := map[string][]byte{}
	for _, n := range l.nodes {
		var err error
		if logs[n.name], err = n.postfix.LogContent(); err != nil {
			t.Fatal(err)
		}
	}
	for _, copies := range l.arrived {
		for _, c := range copies {
			c.lost = len(c.way) == 2 && !handedOver(logs[c.way[0].node], c.way[0], c.way[1])
		}
	}
	once, reasons := 0, map[string]int{}
	known := map[string]bool{}
	for _, mail := range l.mails {
		known[mail.id] = true
		copies := l.arrived[mail.id]
		switch {
		case len(copies) == 0:
			t.Errorf("lost: %s, accepted as %+v", mail.id, mail.last())
		case len(copies) == 1:
			once++
		default:
			for i := range copies[1:] {
				reason, evidence := explain(mail, copies, i+1, logs)
				if reason == "" {
					t.Errorf("%s arrived %d times for no reason: %s\n%+v", mail.id, len(copies), describe(copies), mail.attempts)
					continue
				}
				reasons[reason]++
				t.Logf("a second copy of %s: %s: %s", mail.id, reason, evidence)
			}
		}
	}
	for id := range l.arrived {
		if !known[id] {
			t.Errorf("%s arrived, and nobody sent it", id)
		}
	}
	t.Logf("%d mails, %d arrived once, others: %v", len(l.mails), once, reasons)
}

// explain says why a mail arrived once more, with the evidence; an empty reason is none. RFC 5321 section 4.5.4.2 wants a
// client that doesn't know the fate of a message to send it again (see RFC 1047).
func explain(mail *sent, copies []*arrival, which int, logs map[string][]byte) (reason, evidence string) {
	this := copies[which]
	for _, earlier := range copies[:which] {
		if !earlier.heard && slices.Contains(this.way, earlier.way[len(earlier.way)-1]) {
			return "the remote server's reply got lost", "the connection ended after the reply, and nothing came on it any more"
		}
		if earlier.way[0] != this.way[0] || slices.Equal(earlier.way, this.way) {
			continue
		}
		if start := startedAgain(logs[this.way[0].node], earlier.at, this.at); earlier.lost && start != "" {
			return "the origin was killed before it wrote the next node's reply down", start
		}
		// The origin handed it over again, not knowing that the other node had it.
		for line := range bytes.Lines(logs[this.way[0].node]) {
			if bytes.Contains(line, []byte(" "+this.way[0].queueID+": ")) && bytes.Contains(line, []byte("message may be sent more than once")) {
				return "the reply of the next node got lost", strings.TrimSpace(string(line))
			}
		}
	}
	if !slices.ContainsFunc(copies[:which], func(c *arrival) bool { return c.way[0] == this.way[0] }) {
		for _, a := range mail.attempts {
			host, _, _ := net.SplitHostPort(a.server)
			if a.cause == ambiguous && (mail.path == "HAProxy" || slices.ContainsFunc(copies, func(c *arrival) bool { return nodeIP(c.way[0].node) == host })) {
				return "the fleet's reply to the sender got lost", a.server + ": " + a.detail
			}
		}
	}
	return "", ""
}

// handedOver tells whether the origin's log has the carrier's reply.
func handedOver(log []byte, origin, carrier step) bool {
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte(" "+origin.queueID+": to=")) && bytes.Contains(line, []byte("queued as "+carrier.queueID+")")) {
			return true
		}
	}
	return false
}

// startedAgain is the line of a Postfix that was started between two times, give or take the second that its stamps are cut to.
func startedAgain(log []byte, after, before time.Time) string {
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte("/master[")) || !bytes.Contains(line, []byte("daemon started")) {
			continue
		}
		at, err := time.ParseInLocation("2006 Jan _2 15:04:05", fmt.Sprintf("%d %s", after.Year(), line[:min(15, len(line))]), after.Location())
		if err == nil && at.After(after.Add(-time.Second)) && at.Before(before.Add(time.Second)) {
			return strings.TrimSpace(string(line))
		}
	}
	return ""
}

// nodeIP is the address of a node's host.
func nodeIP(name string) string { return "10.99.0.1" + strings.TrimPrefix(name, "n") }

func describe(copies []*arrival) string {
	var out []string
	for _, c := range copies {
		out = append(out, fmt.Sprintf("%s by %v, heard %t", c.at.Format("15:04:05.000"), c.way, c.heard))
	}
	return strings.Join(out, "; ")
}

// signatures holds that every copy has good signatures, by one node: the one where the mail entered, unless another one
// carried it in balance, which then signs in its place.
func (l *ledger) signatures(t *testing.T) {
	t.Helper()
	counts := map[string]int{}
	for _, mail := range l.mails {
		for _, c := range l.arrived[mail.id] {
			mode := l.phases.mode(mail.last().end, c.at)
			signers, err := l.signers(c.content)
			origin, carrier := c.way[0].node, c.way[len(c.way)-1].node
			switch {
			case err != nil:
				t.Errorf("%s by %v: %v", mail.id, c.way, err)
			case len(c.way) > 2:
				t.Errorf("%s went through more than two nodes: %v", mail.id, c.way)
			case len(c.way) == 1 && slices.Equal(signers, []string{origin}):
				counts[mode+": sent out where it entered, signed there"]++
			case len(c.way) == 2 && slices.Equal(signers, []string{carrier}) && mode != string(fleet.RelayFailover):
				counts[mode+": carried, signed by the carrier"]++
			case len(c.way) == 2 && slices.Equal(signers, []string{origin}) && mode != string(fleet.RelayBalance):
				counts[mode+": carried, signed where it entered"]++
			default:
				t.Errorf("%s, taken in mode %s, by %v is signed by %v", mail.id, mode, c.way, signers)
			}
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%5d %s", counts[what], what)
	}
	for _, what := range []string{"off: sent out where it entered, signed there", "balance: carried, signed by the carrier",
		"failover: carried, signed where it entered"} {
		if counts[what] == 0 {
			t.Errorf("no mail was %s", what)
		}
	}
}
