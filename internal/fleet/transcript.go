package fleet

import "time"

// Direction tells which of the node's conversations a transcript is.
type Direction string

// The two directions, seen from the node.
const (
	Inbound  Direction = "inbound"  // client to node, from milter events
	Outbound Direction = "outbound" // node to next server, from the Postfix log
)

// Provenance tells how a transcript came to be. It is always shown and never guessed.
type Provenance string

const (
	// Captured: every line was seen on the wire, from Postfix's per-peer log (debug_peer_list in postconf(5)).
	Captured Provenance = "captured"
	// Reconstructed: put together from milter events or summary log lines; wording between the facts is ours.
	Reconstructed Provenance = "reconstructed"
)

// Speaker is who says a transcript line.
type Speaker string

// The speakers. A note is a fact that isn't SMTP: a connection made or refused, a TLS handshake, a signature.
const (
	ClientSays Speaker = "client"
	ServerSays Speaker = "server"
	Note       Speaker = "note"
)

// Line is one line of a transcript, without its line end. Text is hostile: a remote server or a mail sender chose it.
type Line struct {
	Time time.Time `json:"time"`
	From Speaker   `json:"from"`
	Text string    `json:"text"`
	Cut  bool      `json:"cut,omitempty"` // Postfix logged only the beginning
}

// Transcript is an SMTP conversation, line by line. Lines keep the order in which they were said, whatever their times
// claim: a clock may jump.
type Transcript struct {
	Key        string     `json:"key"` // unique within the message; "inbound" for the inbound one
	Direction  Direction  `json:"direction"`
	Provenance Provenance `json:"provenance"`
	Peer       string     `json:"peer,omitempty"` // HOST[ADDR]:PORT of the last server spoken to, or NAME[ADDR] of the client
	TLS        string     `json:"tls,omitempty"`
	Reused     bool       `json:"reused,omitempty"` // began on a connection that an earlier delivery had opened
	Started    time.Time  `json:"started"`
	Ended      time.Time  `json:"ended"`
	Recipients []string   `json:"recipients,omitempty"` // those whose fate this conversation decided
	Lines      []Line     `json:"lines"`
	Omitted    int        `json:"omitted,omitempty"` // lines left out in the middle because the limit was reached
}

// InboundKey is the key of the inbound transcript.
const InboundKey = "inbound"
