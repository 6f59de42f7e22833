package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// mailbox is what a diagnosis reads of the node's messages.
type mailbox interface {
	Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error)
	Transcripts(ctx context.Context, id fleet.MessageID) ([]fleet.Transcript, error)
}

// What is looked at: enough to see a habit, little enough to take no time.
const (
	recentSpan      = 24 * time.Hour
	recentServers   = 12 // whose greetings are read
	wrongDate       = 24 * time.Hour
	mostBad         = 20
	recentTwiceSame = 2
)

// recentMail sums up the mail of the last day.
func recentMail(ctx context.Context, store mailbox, now time.Time) (*diagnose.Recent, error) {
	page, err := store.Messages(ctx, fleet.Query{View: fleet.ViewAll, Since: now.Add(-recentSpan), Limit: fleet.MaxLimit})
	if err != nil {
		return nil, err
	}
	recent := &diagnose.Recent{Since: now.Add(-recentSpan), Messages: len(page.Messages)}
	relays := map[string]*diagnose.RecentRelay{}
	from := map[string]fleet.MessageID{} // a message that went there
	ids := map[string][]*fleet.Message{}
	for i := range page.Messages {
		m := &page.Messages[i]
		countRelays(m, relays, from, recent)
		judgeHeaders(m, ids, recent)
	}
	for _, relay := range relays {
		recent.Relays = append(recent.Relays, *relay)
	}
	slices.SortFunc(recent.Relays, func(a, b diagnose.RecentRelay) int {
		return cmp.Or(cmp.Compare(b.Deliveries, a.Deliveries), strings.Compare(a.Host, b.Host))
	})
	recent.Again = repeatedIDs(ids)
	return recent, readGreetings(ctx, store, from, recent)
}

// countRelays notes where a message went.
func countRelays(m *fleet.Message, relays map[string]*diagnose.RecentRelay, from map[string]fleet.MessageID, recent *diagnose.Recent) {
	for i := range m.Recipients {
		switch m.Recipients[i].SentTLS() {
		case fleet.TLSYes:
			recent.Encrypted++
		case fleet.TLSNo:
			recent.Clear++
		}
		for _, a := range m.Recipients[i].Attempts {
			if a.RelayAddr == "" || a.Hop != "" || a.Transcript == "" {
				continue
			}
			if _, there := from[a.RelayAddr]; !there {
				from[a.RelayAddr] = m.ID
			}
			if a.Status != "sent" {
				continue
			}
			relay := relays[a.RelayAddr]
			if relay == nil {
				relay = &diagnose.RecentRelay{Host: a.RelayHost, Addr: a.RelayAddr, Port: a.RelayPort}
				relays[a.RelayAddr] = relay
			}
			relay.Deliveries++
			if a.Time.After(relay.Last) {
				relay.Last = a.Time
			}
		}
	}
}

// judgeHeaders looks at Message-ID and Date of mail that a client made: not of Postfix's own, nor of mail that came again
// from a filter or after a requeue, which rightly has the Message-ID that it had.
func judgeHeaders(m *fleet.Message, ids map[string][]*fleet.Message, recent *diagnose.Recent) {
	again := slices.ContainsFunc(m.Links, func(l fleet.Link) bool { return strings.HasSuffix(string(l.Kind), "of") })
	if !m.OpenedByMilter || m.Verdict != fleet.VerdictAccepted || m.Source == fleet.SourceExternal || m.Source == fleet.SourceHop || again {
		return
	}
	if m.MessageID == "" {
		recent.NoID++
	} else {
		ids[m.MessageID] = append(ids[m.MessageID], m)
	}
	if m.Date == "" {
		return
	}
	recent.Dates++
	if why := badDate(m); why != "" && len(recent.BadDates) < mostBad {
		recent.BadDates = append(recent.BadDates, diagnose.BadDate{QueueID: m.QueueID, From: m.Sender, Why: why})
	}
}

func badDate(m *fleet.Message) string {
	date, err := mail.ParseDate(m.Date)
	if err != nil {
		return fmt.Sprintf("%.60q is no date", m.Date)
	}
	if apart := date.Sub(m.FirstSeen); apart.Abs() > wrongDate {
		return fmt.Sprintf("its Date is %s, it came at %s", date.UTC().Format(time.RFC3339), m.FirstSeen.UTC().Format(time.RFC3339))
	}
	return ""
}

// repeatedIDs are those that different mails share. The same mail may come twice, from a client that lost the reply: sender,
// subject and size tell.
func repeatedIDs(ids map[string][]*fleet.Message) (again []diagnose.Repeated) {
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		list := ids[id]
		first := list[0]
		different := slices.ContainsFunc(list, func(m *fleet.Message) bool {
			return m.Subject != first.Subject || m.HeaderFrom != first.HeaderFrom || m.HeaderTo != first.HeaderTo
		})
		if len(list) <= recentTwiceSame && !different || len(again) == mostBad || len(list) < 2 {
			continue
		}
		one := diagnose.Repeated{MessageID: id}
		for _, m := range list[:min(len(list), mostBad)] {
			one.Queue = append(one.Queue, m.QueueID)
		}
		again = append(again, one)
	}
	return again
}

// readGreetings reads what servers answered to EHLO in captured conversations, of the servers that took most.
func readGreetings(ctx context.Context, store mailbox, from map[string]fleet.MessageID, recent *diagnose.Recent) error {
	for _, relay := range recent.Relays[:min(len(recent.Relays), recentServers)] {
		transcripts, err := store.Transcripts(ctx, from[relay.Addr])
		if fleet.CodeOf(err) == fleet.CodeNotFound {
			continue // retention was faster
		}
		if err != nil {
			return err
		}
		for i := range transcripts {
			t := &transcripts[i]
			if t.Direction != fleet.Outbound || t.Provenance != fleet.Captured || !strings.Contains(t.Peer, "["+relay.Addr+"]") {
				continue
			}
			if lines := ehloLines(t.Lines); len(lines) > 0 {
				recent.Greetings = append(recent.Greetings, diagnose.Greeting{Peer: t.Peer, Time: t.Started, Lines: lines})
				break
			}
		}
	}
	return nil
}

// ehloLines is the last reply to EHLO in a conversation: the one after STARTTLS, where there was one.
func ehloLines(lines []fleet.Line) (reply []string) {
	reading := false
	for _, line := range lines {
		switch {
		case line.From == fleet.ClientSays:
			reading = strings.HasPrefix(strings.ToUpper(line.Text), "EHLO")
			if reading {
				reply = nil
			}
		case reading && line.From == fleet.ServerSays && strings.HasPrefix(line.Text, "250") && len(line.Text) > 4:
			reply = append(reply, line.Text[4:])
		}
	}
	return reply
}
