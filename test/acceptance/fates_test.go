package acceptance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// perNode is how many messages the test sends through each node.
const perNode = 25

// Mail with mixed fates through three Postfix instances, found through a real Consul server: for each recipient the JSON
// API shows what the far end and Postfix's own queue say, and every captured conversation is, line by line, what the far
// end saw.
func TestFatesAndConversations(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 3*time.Minute)
	_, f, world := startFleet(t, ctx, lab.FleetOptions{Consul: true, Retry: time.Hour})
	api := fleetAPI{f.Aggregator}
	var sent []string // recipients
	for i, node := range f.Nodes {
		sent = append(sent, sendMixed(t, ctx, node.Postfix, i)...)
	}
	for _, node := range f.Nodes {
		if err := node.Postfix.Drained(ctx); err != nil {
			t.Fatal(err)
		}
		if err := node.Postfix.Flush(ctx); err != nil { // a second attempt for what was deferred
			t.Fatal(err)
		}
	}
	var messages []fleet.Message
	settled, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	lab.Await(t, settled, func(ctx context.Context) (err error) {
		if messages, err = api.messages(ctx, url.Values{"sender": {"orders@shop.example"}}); err != nil {
			return err
		}
		return compareFates(ctx, f, world, sent, messages)
	})
	if want := perNode * len(f.Nodes); len(messages) != want {
		t.Errorf("%d messages, want %d", len(messages), want)
	}
	for i := range messages {
		if m := &messages[i]; len(m.Signatures) != 2 || m.Signatures[0].Selector != m.Node {
			t.Errorf("message %s of %s: signatures %+v, unsigned %q", m.QueueID, m.Node, m.Signatures, m.Unsigned)
		}
	}
	t.Run("bounces", func(t *testing.T) { checkBounces(t, ctx, api, messages) })
	t.Run("conversations", func(t *testing.T) { checkConversations(t, ctx, api, world, messages) })
}

// sendMixed sends each message to a recipient of its own at several servers, so that a recipient's address tells which
// message it is about.
func sendMixed(t *testing.T, ctx context.Context, p *lab.Postfix, node int) (recipients []string) {
	t.Helper()
	var mails []lab.Mail
	for n := range perNode {
		mail := lab.Mail{From: "orders@shop.example", Subject: fmt.Sprintf("Bestellung %d für Knoten %d", n, node), Text: "Grüße"}
		for i := range 1 + n%len(lab.Remotes) {
			domain := lab.Remotes[(n+i)%len(lab.Remotes)].Domain
			mail.To = append(mail.To, fmt.Sprintf("r%d-%d@%s", node, n, domain))
		}
		mails = append(mails, mail)
		recipients = append(recipients, mail.To...)
	}
	outcomes, err := lab.Client{}.Send(ctx, p.Addr, mails...)
	if err != nil {
		t.Fatal(err)
	}
	for i, outcome := range outcomes {
		if outcome.Err != nil || len(outcome.Refused) > 0 {
			t.Fatalf("message %d: %+v", i, outcome)
		}
	}
	return recipients
}

// expected is the status that the last word of a server means (RFC 5321 section 4.2.1).
func expected(reply string) fleet.Status {
	switch {
	case strings.HasPrefix(reply, "2"):
		return fleet.StatusDelivered
	case strings.HasPrefix(reply, "5"):
		return fleet.StatusBounced
	}
	return fleet.StatusDeferred
}

// fate of a recipient, with how often a server was asked.
type fate struct {
	Status fleet.Status
	Asked  int
}

// compareFates holds what the API shows against the far end's last words and against the queues.
func compareFates(ctx context.Context, f *lab.Fleet, world *lab.World, sent []string, messages []fleet.Message) error {
	got, want := map[string]fate{}, map[string]fate{}
	var waiting, queued []string
	for i := range messages {
		m := &messages[i]
		for _, r := range m.Recipients {
			if _, twice := got[r.Address]; twice {
				return fmt.Errorf("%s is shown twice", r.Address)
			}
			got[r.Address] = fate{r.Status, overSMTP(&r)}
			if r.Status.InQueue() {
				waiting = append(waiting, m.Node+" "+m.QueueID+" "+r.Address)
			}
		}
	}
	answers := map[string][]string{}
	for _, tap := range world.Taps {
		maps.Copy(answers, tap.Answers())
	}
	for _, address := range sent {
		// Without an answer Postfix didn't even ask: it leaves a server alone for a while that has just hung up.
		want[address] = fate{fleet.StatusDeferred, len(answers[address])}
		if n := len(answers[address]); n > 0 {
			want[address] = fate{expected(answers[address][n-1]), n}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("fates (-far end +API):\n%s", diff)
	}
	for _, node := range f.Nodes {
		queue, err := node.Postfix.Queue(ctx)
		if err != nil {
			return err
		}
		for _, mail := range queue {
			for _, r := range mail.Recipients {
				queued = append(queued, node.Name+" "+mail.QueueID+" "+r.Address)
			}
		}
	}
	slices.Sort(waiting)
	slices.Sort(queued)
	if diff := cmp.Diff(queued, waiting); diff != "" {
		return fmt.Errorf("waiting (-postqueue +API):\n%s", diff)
	}
	return nil
}

func checkBounces(t *testing.T, ctx context.Context, api fleetAPI, messages []fleet.Message) {
	notices, err := api.messages(ctx, url.Values{"sender": {"<>"}})
	if err != nil {
		t.Fatal(err)
	}
	byQueueID := map[string]bool{}
	for _, notice := range notices {
		byQueueID[notice.Node+" "+notice.QueueID] = true
	}
	for i := range messages {
		m := &messages[i]
		bounced := m.Count(fleet.Status.Failed) > 0
		linked := slices.IndexFunc(m.Links, func(link fleet.Link) bool { return link.Kind == fleet.LinkBounce })
		switch {
		case bounced != (linked >= 0):
			t.Errorf("message %s of %s: bounced %t, links %+v", m.QueueID, m.Node, bounced, m.Links)
		case bounced && !byQueueID[m.Node+" "+m.Links[linked].QueueID]:
			t.Errorf("bounce %s of message %s is not in the list", m.Links[linked].QueueID, m.QueueID)
		}
	}
}

// checkConversations holds every outbound transcript against what its tap saw, and counts that none is missing.
func checkConversations(t *testing.T, ctx context.Context, api fleetAPI, world *lab.World, messages []fleet.Message) {
	seen := map[string]int{} // recipient to transcripts
	for i := range messages {
		m := &messages[i]
		transcripts, err := api.transcripts(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		inbound := 0
		for j := range transcripts {
			transcript := &transcripts[j]
			if transcript.Direction == fleet.Inbound {
				inbound++
				continue
			}
			if transcript.Provenance != fleet.Captured {
				t.Errorf("message %s: transcript %s is %s", m.QueueID, transcript.Key, transcript.Provenance)
			}
			if err := sameAsTap(world, transcript); err != nil {
				t.Errorf("message %s of %s, to %v: %v", m.QueueID, m.Node, transcript.Recipients, err)
			}
			for _, r := range transcript.Recipients {
				seen[r]++
			}
		}
		if inbound != 1 {
			t.Errorf("message %s: %d inbound transcripts", m.QueueID, inbound)
		}
		for k := range m.Recipients {
			if r := &m.Recipients[k]; seen[r.Address] != overSMTP(r) {
				t.Errorf("%s: %d attempts, %d transcripts", r.Address, overSMTP(r), seen[r.Address])
			}
		}
	}
}

// overSMTP counts the attempts for which Postfix spoke to a server; error(8) stands in where it leaves one alone.
func overSMTP(r *fleet.Recipient) (n int) {
	for i := range r.Attempts {
		if r.Attempts[i].Daemon == "smtp" {
			n++
		}
	}
	return n
}

// sameAsTap finds the conversation in the tap of the recipients' domain. Commands and replies are compared each in their
// order: with PIPELINING a client says several commands before the first reply, and which came first on the wire is not
// the same at both ends.
func sameAsTap(world *lab.World, transcript *fleet.Transcript) error {
	if len(transcript.Recipients) == 0 {
		return errors.New("no recipients")
	}
	tap := world.Taps[fleet.AddressDomain(transcript.Recipients[0])]
	var nearest string
	for _, conversation := range tap.Conversations() {
		for _, begin := range beginnings(&conversation, transcript) {
			diff := compareLines(conversation.Lines[begin:], transcript)
			if diff == "" {
				return nil
			}
			nearest = diff
		}
	}
	return fmt.Errorf("no such conversation at the far end; the last that is about them (-far end +transcript):\n%s", nearest)
}

// beginnings are the places in a conversation where the transcript may begin: its start or, for a reused connection, the
// MAIL FROM of a transaction for the same recipients, or the RSET before it with which Postfix tries whether the
// connection is still good.
func beginnings(conversation *lab.Conversation, transcript *fleet.Transcript) (places []int) {
	first := "RCPT TO:<" + transcript.Recipients[0] + ">"
	var begins []int // of the transaction at hand
	for i, line := range conversation.Lines {
		switch {
		case line.Client && line.Text == "RSET", line.Client && strings.HasPrefix(line.Text, "MAIL FROM:"):
			if i > 1 && !strings.HasPrefix(conversation.Lines[i-2].Text, "RSET") {
				begins = nil
			}
			begins = append(begins, i)
		case line.Client && strings.HasPrefix(line.Text, first) && transcript.Reused:
			places = append(places, begins...)
		case line.Client && strings.HasPrefix(line.Text, first):
			places = append(places, 0)
		}
	}
	return places
}

// cutAt is how much of a reply Postfix logs: smtp_chat.c has %.100s.
const cutAt = 100

func compareLines(tapped []lab.TapLine, transcript *fleet.Transcript) string {
	said := func(from fleet.Speaker) (lines []string) {
		for _, line := range transcript.Lines {
			if line.From == from {
				lines = append(lines, line.Text)
			}
		}
		return lines
	}
	client, server := said(fleet.ClientSays), said(fleet.ServerSays)
	var tapClient, tapServer []string
	var over bool // the next transaction on the same connection has begun
	for _, line := range tapped {
		switch {
		case line.Client && len(tapClient) < len(client):
			tapClient = append(tapClient, line.Text)
		case !line.Client && len(tapServer) < len(server):
			tapServer = append(tapServer, line.Text)
		case over || strings.HasPrefix(line.Text, "MAIL FROM:"):
			over = true
		case line.Client && line.Text != "QUIT" && line.Text != "RSET", !line.Client && !strings.HasPrefix(line.Text, "2"):
			return "the transcript ends before: " + line.Text
		}
	}
	for i, line := range transcript.Lines {
		if line.Cut && len(line.Text) != cutAt {
			return fmt.Sprintf("line %d is marked as cut with %d characters", i, len(line.Text))
		}
	}
	if diff := cmp.Diff(tapServer, server, cmp.Comparer(sameOrCut)); diff != "" {
		return diff
	}
	return cmp.Diff(tapClient, client)
}

// sameOrCut: what the tap saw, or its beginning where Postfix logged no more.
func sameOrCut(a, b string) bool {
	if len(a) == cutAt || len(b) == cutAt {
		return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
	}
	return a == b
}
