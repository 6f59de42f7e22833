package postfixlog

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// peer is a NAME[ADDRESS]:PORT as Postfix writes it; the port, or the name, may be missing.
type peer struct {
	name []byte
	addr []byte
	port int
}

func readPeer(b []byte) (p peer, ok bool) {
	open := bytes.IndexByte(b, '[')
	if open < 0 {
		return peer{}, false
	}
	end := bytes.IndexByte(b[open:], ']')
	if end < 0 {
		return peer{}, false
	}
	end += open
	p.name, p.addr = b[:open], b[open+1:end]
	if rest, ok := after(b[end+1:], ":"); ok {
		p.port, _, _ = number(rest)
	}
	return p, true
}

// splitPeer cuts a leading NAME[ADDRESS] or NAME[ADDRESS]:PORT off, up to but without the separator behind it.
func splitPeer(b []byte) (p peer, rest []byte, ok bool) {
	end := bytes.IndexByte(b, ']')
	if end < 0 {
		return peer{}, nil, false
	}
	end++
	if more, ok := after(b[end:], ":"); ok {
		if _, rest, digits := number(more); digits {
			end = len(b) - len(rest)
		}
	}
	p, ok = readPeer(b[:end])
	return p, b[end:], ok
}

// sameServer compares two peers as Postfix names them, but for their ports: of a connection from its cache to a fallback or a
// later next hop it logs the port of the first (smtp_session_activate in smtp_session.c), except in the line about its TLS. Postfix
// 3.12 logs the right one everywhere.
func sameServer(a, b string) bool { return a == b || a != "" && withoutPort(a) == withoutPort(b) }

func withoutPort(peer string) string { return peer[:strings.LastIndexByte(peer, ']')+1] }

// address is the peer's IP address; a unix socket has none.
func (p peer) address() string {
	addr, err := netip.ParseAddr(string(p.addr))
	if err != nil {
		return ""
	}
	return addr.String()
}

// hostName is the peer's name; "unknown" is none.
func (p peer) hostName() string {
	if string(p.name) == "unknown" {
		return ""
	}
	return string(p.name)
}

// remoteID finds the queue id that the next server gave the message, in the few wordings that leave no doubt.
func remoteID(reply string) string {
	for _, known := range [...]struct{ before, end string }{
		{"queued as ", " ,;()<>"}, // Postfix, and what imitates it
		{"OK id=", " "},           // Exim
		{"InternalId=", ",] "},    // Exchange
	} {
		if at := strings.LastIndex(reply, known.before); at >= 0 {
			return firstWord(reply[at+len(known.before):], known.end)
		}
	}
	if before, _, ok := strings.Cut(reply, " Message accepted for delivery"); ok { // sendmail, OpenSMTPD
		return lastWord(before)
	}
	if before, ok := strings.CutSuffix(reply, " - gsmtp"); ok { // Google
		return lastWord(before)
	}
	return ""
}

// firstWord is a remote id up to one of the end characters; what is too long for an id is none.
func firstWord(s, end string) string {
	if at := strings.IndexAny(s, end); at >= 0 {
		s = s[:at]
	}
	s = strings.TrimSuffix(s, ".")
	if len(s) > maxRemoteID {
		return ""
	}
	return s
}

const maxRemoteID = 64

func lastWord(s string) string { return firstWord(s[strings.LastIndexByte(s, ' ')+1:], " ") }

// seconds reads a delay, e.g. "0.11" or "172800".
func seconds(b []byte) (float64, bool) {
	n, rest, ok := number(b)
	if !ok {
		return 0, false
	}
	if len(rest) == 0 {
		return float64(n), true
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil && f >= 0 && f < 1e12
}
