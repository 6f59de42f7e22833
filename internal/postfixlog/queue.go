package postfixlog

import (
	"bytes"

	"github.com/postfleet/postfleet/internal/fleet"
)

// readQueueManager reads qmgr(8)'s lines: a message enters the active queue, expires, is done.
func (t *Tracker) readQueueManager(l *line) bool {
	if len(l.queueID) == 0 {
		return true
	}
	switch string(l.text) {
	case "removed":
		t.emit(l, l.queueID, &fleet.Left{By: fleet.LeftDone})
		return true
	case "skipped, still being delivered":
		return true
	}
	rest, ok := after(l.text, "from=<")
	if !ok {
		return t.readAgent(l)
	}
	sender, rest, ok := angled(rest)
	if !ok {
		return false
	}
	if rest, ok := after(rest, ", size="); ok {
		size, rest, _ := number(rest)
		rest, ok = after(rest, ", nrcpt=")
		if !ok {
			return false
		}
		recipients, _, _ := number(rest)
		t.release(l)
		t.emit(l, l.queueID, &fleet.Activated{Sender: string(sender), Size: int64(size), Recipients: recipients})
		return true
	}
	// "expired", or "force-expired" after postsuper -e
	if status, ok := after(rest, ", status="); ok && bytes.HasSuffix(status, []byte("expired, returned to sender")) {
		t.emit(l, l.queueID, &fleet.Expired{})
		return true
	}
	return false
}

// readPickup reads pickup(8)'s line about mail from sendmail(1), or about a message that postsuper -r put back under a
// new queue id.
func (t *Tracker) readPickup(l *line) bool {
	if len(l.queueID) == 0 {
		return true
	}
	rest, ok := after(l.text, "uid=")
	if !ok {
		return false
	}
	uid, rest, _ := cut(rest, " ")
	if rest, ok = after(rest, "from=<"); !ok {
		return false
	}
	sender, rest, ok := angled(rest)
	if !ok {
		return false
	}
	t.emit(l, l.queueID, &fleet.Arrived{Client: fleet.Client{UID: string(uid), Service: string(l.service)}, Sender: string(sender)})
	if old, requeued := after(rest, " orig_id="); requeued && isQueueID(old) {
		t.link(l, old, fleet.LinkRequeued, l.queueID, fleet.LinkRequeue)
	}
	return true
}

// readNotice reads the lines of bounce(8), which also runs as defer and trace: "KIND notification: NEWID". Before Postfix
// 3.11 the line comes after the new message's own first lines, since then before them.
func (t *Tracker) readNotice(l *line) bool {
	if len(l.queueID) == 0 {
		return true
	}
	for _, notice := range [...]struct {
		text string
		kind fleet.LinkKind
	}{
		{"sender non-delivery notification: ", fleet.LinkBounce},
		{"postmaster non-delivery notification: ", fleet.LinkBounce},
		{"sender delay notification: ", fleet.LinkDelay},
		{"postmaster delay notification: ", fleet.LinkDelay},
		{"sender delivery status notification: ", fleet.LinkSuccess},
	} {
		if id, ok := after(l.text, notice.text); ok && isQueueID(id) {
			t.link(l, l.queueID, notice.kind, id, fleet.LinkNoticeOf)
			return true
		}
	}
	for _, known := range [...]string{"sender notification failed", "postmaster notification failed", "not sending trace/success notification"} {
		if begins(l.text, known) {
			return true
		}
	}
	return t.readAgent(l)
}

// readPostsuper reads what an administrator did with postsuper(1).
func (t *Tracker) readPostsuper(l *line) bool {
	if len(l.queueID) == 0 {
		return true
	}
	switch string(l.text) {
	case "removed":
		t.emit(l, l.queueID, &fleet.Left{By: fleet.LeftDeleted})
	case "requeued":
		t.emit(l, l.queueID, &fleet.Left{By: fleet.LeftRequeued})
	case "placed on hold":
		t.emit(l, l.queueID, &fleet.HoldChanged{Held: true})
	case "released from hold":
		t.emit(l, l.queueID, &fleet.HoldChanged{})
	case "expired":
		t.emit(l, l.queueID, &fleet.Expired{})
	default:
		return false
	}
	return true
}
