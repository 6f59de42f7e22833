package postfixlog

import (
	"bytes"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// secured is a line about a finished TLS handshake (tls_log_summary in tls_misc.c):
//
//	LEVEL TLS connection established|reused to|from PEER[ to SNI]: TLSv1.3 with cipher NAME (256/256 bits) …
type secured struct {
	level   []byte // Anonymous, Untrusted, Trusted, Verified
	peer    []byte
	version []byte
	cipher  []byte
	bits    int
}

func readSecured(text []byte, s *secured) bool {
	level, rest, ok := cut(text, " TLS connection ")
	if !ok || len(level) > len("Anonymous") {
		return false
	}
	_, rest, ok = cut(rest, " ") // established, reused
	if !ok {
		return false
	}
	_, rest, ok = cut(rest, " ") // to, from
	if !ok {
		return false
	}
	// The peer's address may hold "::", its port follows a colon, and the protocol a colon and a blank.
	who, what, ok := cut(rest, ": ")
	if !ok {
		return false
	}
	who, _, _ = cut(who, " to ")
	version, rest, ok := cut(what, " with cipher ")
	if !ok {
		return false
	}
	cipher, rest, ok := cut(rest, " (")
	if !ok {
		return false
	}
	bits, _, _ := number(rest)
	*s = secured{level: level, peer: who, version: version, cipher: cipher, bits: bits}
	return true
}

// String is the short form that attempts and transcripts carry.
func (s *secured) String() string {
	return string(s.level) + " " + string(s.version) + " with cipher " + string(s.cipher)
}

// policyTLS reads the tls= field of Postfix 3.11 (pol_stats_format): FEATURE[:FINAL][/…], "!" in front when the policy was
// not met, "?" behind when it stayed undecided. It tells whether the connection was encrypted, though not how.
func policyTLS(field []byte) string {
	feature, _, _ := cut(field, "/")
	if len(feature) == 0 || feature[0] == '!' || feature[len(feature)-1] == '?' {
		return ""
	}
	if at := bytes.IndexByte(feature, ':'); at >= 0 {
		feature = feature[at+1:]
	}
	if string(feature) == "none" {
		return ""
	}
	return "TLS, policy " + string(feature)
}

// unloggedTLS is what a captured conversation shows of TLS where smtp_tls_loglevel is 0, Postfix's default.
const unloggedTLS = "TLS, of which Postfix logged no more"

// startedTLS tells that the server's last reply was its consent to STARTTLS. A client that greets after that has TLS: where the
// handshake fails, Postfix says no more on that connection.
func (k *talk) startedTLS() bool {
	n := len(k.lines)
	return n > 1 && k.lines[n-1].From == fleet.ServerSays && strings.HasPrefix(k.lines[n-1].Text, "220") &&
		k.lines[n-2].From == fleet.ClientSays && k.lines[n-2].Text == "STARTTLS"
}
