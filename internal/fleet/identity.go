package fleet

import (
	"slices"
	"strings"
	"time"
)

// Tolerances of [Choose].
const (
	// stampSlack covers log stamps that are cut to whole seconds while the milter's times are not.
	stampSlack = 2 * time.Second
	// lateness is how long after its removal a message still collects lines that were written late.
	lateness = 5 * time.Minute
	// sourceGap bounds how far apart the milter and the log may see the same message begin.
	sourceGap = 2 * time.Hour
	// refusalGap joins refusals without a queue id that one client met for one sender.
	refusalGap = 10 * time.Second
)

// Creates tells whether an event that matches no message begins one. Transcripts and removals don't: a message about
// which nothing else is known is not worth a row.
func (e *Event) Creates() bool { return e.Body.opens() != opensNothing }

// Choose picks the message that an event is about among those of its queue id, or, for an event without one, among those
// without a queue id whose client address and sender are the event's ([Event.RefusalKey]). Nil: it is about none of them.
//
// Short queue ids come back within days, `removed` lines get lost, and a log may be read again from its start; so the
// choice goes by time and by who opened a message, never by the queue id alone.
func Choose(candidates []*Message, e *Event) *Message {
	for _, m := range candidates {
		if slices.Contains(m.Openings, e.ID) {
			return m // read again
		}
	}
	if reported, ok := e.Body.(*Reported); ok {
		return handedOver(candidates, reported)
	}
	if e.QueueID == "" {
		if m := sameRefusal(candidates, e); m != nil {
			return m
		}
	}
	best := openAt(candidates, e)
	if best == nil {
		return nil
	}
	age := e.Time.Sub(best.FirstSeen)
	if e.QueueID == "" {
		recorded, ok := e.Body.(*Recorded)
		if age > refusalGap || ok && best.OpenedByMilter && !best.repeats(recorded) {
			return nil
		}
		return best
	}
	gone := !best.Removed.IsZero()
	switch e.Body.opens() {
	case opensForLog:
		if gone && e.Time.Sub(best.Removed) > stampSlack || best.openedFor(opensForLog) || age > sourceGap {
			return nil
		}
	case opensForMilter:
		if gone && e.earliest().Sub(best.Removed) > stampSlack || best.openedFor(opensForMilter) || age > sourceGap {
			return nil
		}
	default:
		if gone && e.Time.Sub(best.Removed) > lateness && !best.awaits(e.Body) {
			return nil
		}
		// A notification has no client= line: a message that has one is another that had the id before.
		if linked, ok := e.Body.(*Linked); ok && linked.Kind == LinkNoticeOf && best.OpenedByLog {
			return nil
		}
		// A notification that Postfix makes has no client= line: its Message-ID tells it from an old message whose
		// `removed` was lost.
		if cleaned, ok := e.Body.(*Cleaned); ok && age > sourceGap && best.MessageID != "" && best.MessageID != cleaned.MessageID {
			return nil
		}
	}
	return best
}

// handedOver is the message that a carrier's report is about, however long ago it was over.
func handedOver(candidates []*Message, reported *Reported) *Message {
	for _, m := range candidates {
		if reported.about(m) {
			return m
		}
	}
	return nil
}

// sameRefusal is what the other source, log or milter, said of the refusal.
func sameRefusal(candidates []*Message, e *Event) *Message {
	switch body := e.Body.(type) {
	case *Recorded:
		return loggedRefusal(candidates, e, body)
	case *Refused:
		return recordedRefusal(candidates, e, body)
	}
	return nil
}

// recordedRefusal is the milter's record of a session in which the recipient was refused.
func recordedRefusal(candidates []*Message, e *Event, refused *Refused) (latest *Message) {
	for _, m := range candidates {
		first := m.FirstSeen
		if !m.Earliest.IsZero() {
			first = m.Earliest
		}
		if m.OpenedByMilter && m.refused(refused.Recipient) && !first.After(e.Time.Add(stampSlack)) &&
			!m.LastChange.Before(e.Time) && (latest == nil || m.FirstSeen.After(latest.FirstSeen)) {
			latest = m
		}
	}
	return latest
}

// loggedRefusal is the latest refusal in the log, of a recipient that the milter was told of, since the session began. Postfix
// tells the milter when it needs its answer or the session ends, which may be minutes after the log was written.
func loggedRefusal(candidates []*Message, e *Event, recorded *Recorded) (latest *Message) {
	if e.Earliest.IsZero() {
		return nil
	}
	for _, m := range candidates {
		if m.OpenedByMilter || m.FirstSeen.Before(e.Earliest.Add(-stampSlack)) || m.FirstSeen.After(e.Time) ||
			latest != nil && m.FirstSeen.Before(latest.FirstSeen) {
			continue
		}
		for i := range recorded.Recipients {
			if r := &recorded.Recipients[i]; r.Status == StatusRejected && m.refused(r.Address) {
				latest = m
				break
			}
		}
	}
	return latest
}

// repeats tells whether a client tried again what it was refused in m: no recipient is news.
func (m *Message) repeats(recorded *Recorded) bool {
	for i := range recorded.Recipients {
		if r := &recorded.Recipients[i]; r.Status != StatusRejected || !m.refused(r.Address) {
			return false
		}
	}
	return len(recorded.Recipients) > 0
}

func (m *Message) refused(recipient string) bool {
	return slices.ContainsFunc(m.Recipients, func(r Recipient) bool { return r.Refused && strings.EqualFold(r.Address, recipient) })
}

// openAt is the latest of the candidates that had begun when the event happened; or, where that one was over by then, one
// that begins so soon after that the stamps may be to blame, or that the milter was told of late.
func openAt(candidates []*Message, e *Event) *Message {
	var begun, soon *Message
	for _, m := range candidates {
		if m.Instance != "" && e.Instance != "" && m.Instance != e.Instance {
			continue
		}
		first := m.FirstSeen
		if e.Time.Nanosecond() == 0 {
			first = first.Truncate(time.Second) // as the stamp was
		}
		switch {
		case !first.After(e.Time):
			if begun == nil || m.FirstSeen.After(begun.FirstSeen) {
				begun = m
			}
		case !first.After(e.Time.Add(stampSlack)), m.toldLate(e):
			if soon == nil || m.FirstSeen.Before(soon.FirstSeen) {
				soon = m
			}
		}
	}
	if begun == nil || soon != nil && begun.overFor(e) {
		return soon
	}
	return begun
}

// toldLate tells of a message that may have begun when the event happened, long before the milter was told of it.
func (m *Message) toldLate(e *Event) bool {
	return e.QueueID != "" && !m.Earliest.IsZero() && !m.Earliest.After(e.Time.Add(stampSlack))
}

// overFor tells of a message that had begun before the event and can't be what it is about.
func (m *Message) overFor(e *Event) bool {
	if e.Body.opens() == opensForLog && m.OpenedByLog {
		return true
	}
	return !m.Removed.IsZero() && m.Removed.Before(e.Time)
}

// awaits tells of an event that may come long after the queue file is gone: a requeued message gets its new id only when
// pickup(8) comes round, which may be after Postfix was stopped for a while.
func (m *Message) awaits(body Body) bool {
	linked, ok := body.(*Linked)
	return ok && linked.Kind == LinkRequeued && m.RemovedBy == LeftRequeued
}

// earliest is when the message of a milter's record may have begun.
func (e *Event) earliest() time.Time {
	if e.Earliest.IsZero() || e.Earliest.After(e.Since) {
		return e.Since
	}
	return e.Earliest
}

// RefusalKey is what joins refusals that have no queue id: the client's address and the sender.
func (e *Event) RefusalKey() (clientAddr, sender string) {
	switch body := e.Body.(type) {
	case *Refused:
		return body.Client.Addr, strings.ToLower(body.Sender)
	case *Recorded:
		return body.Client.Addr, strings.ToLower(body.Sender)
	}
	return "", ""
}

// NewMessage begins the message that e opens; the caller gives it a free id near FirstSeen and then applies e.
func NewMessage(node string, e *Event) *Message {
	first := e.Time
	if !e.Since.IsZero() && e.Since.Before(first) {
		first = e.Since
	}
	return &Message{Node: node, ID: MessageIDAt(first), QueueID: e.QueueID, Instance: e.Instance, FirstSeen: first, LastChange: first}
}
