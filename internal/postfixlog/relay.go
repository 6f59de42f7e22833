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

// smtpPort is what Postfix logs as the port of a connection from its cache, whatever the connection's own
// (smtp_session_activate in smtp_session.c); of its TLS it logs the right one.
const smtpPort = ":25"

// sameServer tells whether a peer, as Postfix names it, is the one that was named before, also where it has become a connection
// from the cache.
func sameServer(before, now string) bool {
	if before == now {
		return true
	}
	server, cached := strings.CutSuffix(now, smtpPort)
	port, same := strings.CutPrefix(before, server)
	return cached && same && strings.HasPrefix(port, ":") && strings.HasSuffix(server, "]")
}

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
