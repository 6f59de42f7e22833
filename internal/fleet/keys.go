package fleet

import "time"

// KeyState is where a DKIM key is in its life, as pages and commands show it: the stage that the node keeps, and what its
// resolver says of the record.
type KeyState string

// The states.
const (
	KeyGenerated KeyState = "generated" // made; its record is not in DNS yet, so it doesn't sign
	KeyPublished KeyState = "published" // its record is there and matches; it signs next
	KeyActive    KeyState = "active"    // it signs
	KeyRetiring  KeyState = "retiring"  // it signed; mail under way still needs its record
	KeyRetired   KeyState = "retired"   // its record may be removed
	KeyMissing   KeyState = "missing"   // in use, and DNS says that there is no record: an alarm
	KeyMismatch  KeyState = "mismatch"  // DNS has another key, or one that can't verify: an alarm where the key is in use
)

// KeyStates are all states, in the order of a key's life.
var KeyStates = []KeyState{KeyGenerated, KeyPublished, KeyActive, KeyRetiring, KeyRetired, KeyMissing, KeyMismatch}

// KeyStage is the part of a key's life that the node decides and keeps over restarts.
type KeyStage string

// The stages.
const (
	StageWaiting  KeyStage = "waiting" // for its record, its day, or the word of an administrator
	StageActive   KeyStage = "active"
	StageRetiring KeyStage = "retiring"
	StageRetired  KeyStage = "retired"
)

// KeyRecord is what a resolver said of a key's record.
type KeyRecord string

// What it may have said. Only the first three are answers; RecordUnknown never changes a state.
const (
	RecordMatches KeyRecord = "matches"
	RecordAbsent  KeyRecord = "absent"  // the name, or a DKIM record at it, doesn't exist
	RecordDiffers KeyRecord = "differs" // another key, a revoked one (p=), or one that receivers must not use
	RecordUnknown KeyRecord = "unknown" // no answer, a failure of the server, or never asked
)

// RecordFinding is an answer about a key's record.
type RecordFinding struct {
	Record KeyRecord `json:"record"`
	Text   string    `json:"text,omitempty"` // what was seen, in words; may quote DNS, which is hostile text
	At     time.Time `json:"at,omitzero"`
	// Since is when the finding became this one; the time of the first of several equal ones.
	Since time.Time `json:"since,omitzero"`
	// Failure says why the last look gave no answer; the finding is then the one of the look before.
	Failure string `json:"failure,omitempty"`
}

// Key is the public half of a DKIM key and the life of the private one, which never leaves its node.
type Key struct {
	Node      string `json:"node"`
	Domain    string `json:"domain"`
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"` // as in a=
	Bits      int    `json:"bits,omitempty"`

	Name        string `json:"name"`        // of the record in DNS, without a dot at its end
	Text        string `json:"text"`        // of the record
	Fingerprint string `json:"fingerprint"` // SHA-256 of the public key, hex: equal for equal keys

	Stage  KeyStage      `json:"stage"`
	State  KeyState      `json:"state"` // as Judge has it when the node answers
	Signs  bool          `json:"signs"`
	Found  RecordFinding `json:"found"`
	From   string        `json:"from,omitempty"`   // first day of its use, 20060102, where its selector has one
	Forced string        `json:"forced,omitempty"` // who let it sign without its record being seen
	// Conflict names the other node and key where two nodes have one selector, or one key; such a key doesn't begin to sign.
	Conflict string `json:"conflict,omitempty"`
	Waits    string `json:"waits,omitempty"` // for what, while it waits

	Made      time.Time `json:"made,omitzero"` // or first seen by the node
	Activated time.Time `json:"activated,omitzero"`
	Replaced  time.Time `json:"replaced,omitzero"`    // when it ceased to sign
	Removable time.Time `json:"removable,omitzero"`   // from when on its record may be removed
	Published bool      `json:"published,omitempty"`  // the node put the record into DNS itself
	UpdateErr string    `json:"update_err,omitempty"` // why the node could not put the record into DNS
}

// Judge is the state that stage and finding make.
func (k *Key) Judge() KeyState {
	inUse := k.Stage == StageActive || k.Stage == StageRetiring
	switch {
	case k.Stage == StageRetired:
		return KeyRetired
	case k.Found.Record == RecordDiffers:
		return KeyMismatch
	case inUse && k.Found.Record == RecordAbsent:
		return KeyMissing
	case k.Stage == StageWaiting && k.Found.Record == RecordMatches:
		return KeyPublished
	case k.Stage == StageWaiting:
		return KeyGenerated
	case k.Stage == StageRetiring:
		return KeyRetiring
	}
	return KeyActive
}

// Alarm says what is wrong with a key that is in use, or keeps it from being used; empty: nothing.
func (k *Key) Alarm() string {
	switch state := k.Judge(); {
	case k.Conflict != "":
		return k.Conflict
	case state == KeyMissing:
		return "DNS has no record " + k.Name + ": receivers can't verify what this key signed"
	case state == KeyMismatch:
		return "DNS has another record at " + k.Name + ": " + k.Found.Text
	}
	return k.UpdateErr
}

// KeyEvent is one thing that happened to a key, for the administrator's memory.
type KeyEvent struct {
	Time     time.Time `json:"time"`
	Domain   string    `json:"domain"`
	Selector string    `json:"selector,omitempty"`
	By       string    `json:"by,omitempty"` // user, or "schedule"; empty: the node itself
	Text     string    `json:"text"`
}

// NodeKeys is what a node says of its keys.
type NodeKeys struct {
	Node     string        `json:"node"`
	Keys     []Key         `json:"keys"`
	History  []KeyEvent    `json:"history,omitempty"` // newest first
	Require  string        `json:"require_dns"`
	KeepOld  time.Duration `json:"keep_old"`        // ns
	Every    time.Duration `json:"every,omitempty"` // ns between scheduled rotations; 0: none
	Next     time.Time     `json:"next,omitzero"`   // when the next scheduled rotation begins
	Updates  bool          `json:"updates"`         // the node puts its records into DNS itself
	Resolver []string      `json:"resolver,omitempty"`
	Failure  string        `json:"failure,omitempty"` // why the state can't be kept at the moment
}

// KeyVerb is what an administrator may ask for.
type KeyVerb string

// The verbs.
const (
	KeyRotate   KeyVerb = "rotate"   // make the next key of a domain, or of all domains
	KeyActivate KeyVerb = "activate" // sign with a waiting key, or with one that is retiring again
	KeyRetire   KeyVerb = "retire"   // sign no more with a key, or call off one that waits
	KeyCheck    KeyVerb = "check"    // look at DNS now
	KeyPeers    KeyVerb = "peers"    // what the other nodes' keys are; an aggregator tells it to nodes without Consul
)

// KeyOrder is a wish about a node's keys.
type KeyOrder struct {
	Verb     KeyVerb `json:"verb"`
	Domain   string  `json:"domain,omitempty"` // empty, to rotate: all domains with a key in use
	Selector string  `json:"selector,omitempty"`
	Force    bool    `json:"force,omitempty"` // although the record was not seen
	By       string  `json:"by"`
	Peers    []Claim `json:"peers,omitempty"`
}

// Claim is what nodes tell each other of a key, so that no two use one selector or one key.
type Claim struct {
	Node        string    `json:"node"`
	Domain      string    `json:"domain"`
	Selector    string    `json:"selector"`
	Fingerprint string    `json:"fingerprint"`
	Made        time.Time `json:"made"`
	Signs       bool      `json:"signs,omitempty"`
}

// Claim is the key as others have to know it.
func (k *Key) Claim() Claim {
	return Claim{Node: k.Node, Domain: k.Domain, Selector: k.Selector, Fingerprint: k.Fingerprint, Made: k.Made, Signs: k.Signs}
}

// Clash says, in words that name both, why two nodes must not both use a key; empty: they may.
func (c *Claim) Clash(other *Claim) string {
	switch {
	case c.Node == other.Node:
		return ""
	case c.Fingerprint == other.Fingerprint:
		return "one key on two nodes: " + c.Node + " has it as " + c.Selector + "._domainkey." + c.Domain + ", " +
			other.Node + " as " + other.Selector + "._domainkey." + other.Domain
	case c.Domain == other.Domain && c.Selector == other.Selector:
		return "two keys under one selector: " + c.Node + " and " + other.Node + " both use " + c.Selector + "._domainkey." + c.Domain
	}
	return ""
}

// Before tells which of two claims that clash holds: one that signs before one that doesn't, then the older, then by name.
// Both nodes come to the same answer.
func (c *Claim) Before(other *Claim) bool {
	switch {
	case c.Signs != other.Signs:
		return c.Signs
	case !c.Made.Equal(other.Made):
		return c.Made.Before(other.Made)
	}
	return c.Node < other.Node
}
