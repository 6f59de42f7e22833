package carried

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Messages is where a carrier's own messages are.
type Messages interface {
	Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error)
	Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error)
}

// Answerer tells other nodes what became of the mail that they handed over to this one.
type Answerer struct{ Messages Messages }

const (
	// clocks is how far the two nodes' clocks may lie apart for a mail to be found.
	clocks = 24 * time.Hour
	// sameID bounds the messages of one queue id that are looked at: short ids come back within days.
	sameID = 50
	// requeues bounds how often a mail is followed to another queue id (postsuper -r).
	requeues = 8
)

// Carried answers for the node that handed the mails over, in their order. One that isn't that node's, or isn't known, gets
// no reports: either looks the same from outside.
func (a *Answerer) Carried(ctx context.Context, origin string, mails []fleet.Handover) ([][]fleet.Report, error) {
	answer := make([][]fleet.Report, len(mails))
	for i := range mails {
		hop, err := a.find(ctx, origin, &mails[i])
		if err != nil {
			return nil, err
		}
		if hop == nil {
			continue
		}
		now, err := a.latest(ctx, hop)
		if err != nil {
			return nil, err
		}
		answer[i] = mails[i].Reports(hop, now)
	}
	return answer, nil
}

// find gives the message that was handed over, nil where there is none.
func (a *Answerer) find(ctx context.Context, origin string, mail *fleet.Handover) (*fleet.Message, error) {
	if mail.ID > 0 {
		m, err := a.Messages.Message(ctx, mail.ID)
		if err == nil && mail.Of(m, origin) {
			return m, nil
		}
		if err != nil && fleet.CodeOf(err) != fleet.CodeNotFound {
			return nil, err
		}
	}
	q := fleet.Query{QueueID: mail.QueueID, Hops: fleet.HopsOnly, Since: mail.Time.Add(-clocks), Until: mail.Time.Add(clocks), Limit: sameID}
	if sound := q.Validate() == nil; !sound || mail.QueueID == "" || mail.Time.IsZero() {
		return nil, nil
	}
	page, err := a.Messages.Messages(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range page.Messages {
		if m := &page.Messages[i]; mail.Of(m, origin) {
			return m, nil
		}
	}
	return nil, nil
}

// latest is the message in which a requeued one lives on, itself when it wasn't.
func (a *Answerer) latest(ctx context.Context, hop *fleet.Message) (*fleet.Message, error) {
	now := hop
	for range requeues {
		id := now.LivesOn()
		if id == 0 {
			break
		}
		next, err := a.Messages.Message(ctx, id)
		if fleet.CodeOf(err) == fleet.CodeNotFound {
			break
		}
		if err != nil {
			return nil, err
		}
		now = next
	}
	return now, nil
}
