package postfixlog

import "github.com/postfleet/postfleet/internal/fleet"

// readAgent reads the status lines that every delivery agent writes, and the queue manager, cleanup and others where they
// settle a recipient themselves.
func (t *Tracker) readAgent(l *line) bool {
	if len(l.queueID) == 0 {
		return true
	}
	if !readDelivery(l.text, &t.delivery) {
		return begins(l.text, "status=") // "status=deferred (bounce failed)"
	}
	t.attempted(l, nil)
	return true
}

// attempted emits the delivery that was read and returns its identity.
func (t *Tracker) attempted(l *line, amend func(*fleet.Attempt)) fleet.EventID {
	d := &t.delivery
	d.finish(l)
	a := &d.attempt
	a.ID = t.repeats.distinguish(l.at, eventID(l))
	if t.hop != nil && a.Daemon == "smtp" && a.RelayAddr != "" {
		a.Hop = t.hop(a.RelayAddr, connectedPort(a))
	}
	if amend != nil {
		amend(a)
	}
	t.emitAs(l, a.ID, l.queueID, &fleet.Attempted{Recipient: string(d.to), OrigTo: string(d.origTo), Attempt: *a})
	if id, ok := after([]byte(a.Reply), "forwarded as "); ok && string(l.daemon) == "local" && isQueueID(id) {
		t.link(l, l.queueID, fleet.LinkResent, id, fleet.LinkResentOf)
	}
	return a.ID
}

// connectedPort is the port that an attempt's connection went to; zero where Postfix doesn't tell: what it logs of a cached
// connection (smtp_connection_cache_on_demand in postconf(5)) may be another's, see sameServer.
func connectedPort(a *fleet.Attempt) int {
	if a.ConnUse > 1 {
		return 0
	}
	return a.RelayPort
}
