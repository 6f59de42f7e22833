package postfixlog

import (
	"bytes"

	"github.com/postfleet/postfleet/internal/fleet"
)

// delivery is a status= line of any delivery agent (log_adhoc.c in Postfix' source):
//
//	to=<A>[, orig_to=<B>], relay=R[, conn_use=N], delay=D, delays=A/B/C/D[, tls=T], dsn=X.Y.Z, status=S (REASON)
type delivery struct {
	to, origTo []byte
	relay      []byte
	policy     []byte // tls=, Postfix 3.11
	attempt    fleet.Attempt
}

// readDelivery reads the text behind the queue id. The fields before the reason are Postfix' own, except for the
// addresses, which a sender chose: they are read with their quoting, and everything else in its order.
func readDelivery(text []byte, d *delivery) bool {
	*d = delivery{}
	rest, ok := after(text, "to=<")
	if !ok {
		return false
	}
	if d.to, rest, ok = angled(rest); !ok {
		return false
	}
	if more, given := after(rest, ", orig_to=<"); given {
		if d.origTo, rest, ok = angled(more); !ok {
			return false
		}
	}
	for {
		if rest, ok = after(rest, ", "); !ok {
			return false
		}
		name, value, found := cut(rest, "=")
		if !found {
			return false
		}
		if string(name) == "status" {
			return d.readStatus(value)
		}
		end := bytes.Index(value, []byte(", "))
		if end < 0 {
			return false
		}
		value, rest = value[:end], value[end:]
		d.set(name, value)
	}
}

func (d *delivery) set(name, value []byte) {
	a := &d.attempt
	switch string(name) {
	case "relay":
		d.relay = value
	case "conn_use":
		a.ConnUse, _, _ = number(value)
	case "delay":
		a.Delay, _ = seconds(value)
	case "delays":
		a.Delays = readDelays(value)
	case "tls":
		d.policy = value
	case "dsn":
		a.DSN = string(value)
	}
}

func (d *delivery) readStatus(value []byte) bool {
	status, reason, ok := cut(value, " (")
	if !ok {
		return false
	}
	d.attempt.Status = statusWord(status)
	d.attempt.Reply = string(bytes.TrimSuffix(reason, []byte(")")))
	return true
}

// statusWord saves an allocation for the words that Postfix uses.
func statusWord(b []byte) string {
	switch string(b) {
	case "sent":
		return "sent"
	case "deferred":
		return "deferred"
	case "bounced":
		return "bounced"
	}
	return string(b)
}

func readDelays(value []byte) []float64 {
	delays := make([]float64, 0, 4)
	for more := true; more && len(delays) < 4; {
		var part []byte
		part, value, more = cut(value, "/")
		delay, ok := seconds(part)
		if !ok {
			return nil
		}
		delays = append(delays, delay)
	}
	return delays
}

// finish fills in what follows from the other fields.
func (d *delivery) finish(l *line) {
	a := &d.attempt
	a.Time, a.Daemon, a.Relay = l.at, string(l.daemon), string(d.relay)
	if p, ok := readPeer(d.relay); ok {
		a.RelayHost, a.RelayAddr, a.RelayPort = string(p.name), p.address(), p.port
	}
	if a.Status == "sent" && (a.Daemon == "smtp" || a.Daemon == "lmtp") {
		a.RemoteID = remoteID(a.Reply)
	}
}
