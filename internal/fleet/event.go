package fleet

import (
	"hash/fnv"
	"strconv"
	"time"
)

// EventID is the identity of an event: a hash of the log line that it was read from, stamp included, or of the milter
// session. An event that comes again under the same identity changes nothing, so a log can be replayed.
type EventID uint64

// NewEventID hashes the parts of an event's origin.
func NewEventID(parts ...[]byte) EventID {
	h := fnv.New64a()
	for _, part := range parts {
		h.Write(part)
		h.Write([]byte{0})
	}
	return EventID(h.Sum64())
}

func (id EventID) String() string { return strconv.FormatUint(uint64(id), 16) }

// MarshalText writes the identity in hexadecimal.
func (id EventID) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(id), 16), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *EventID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	*id = EventID(n)
	return err
}

// Event is one thing that happened to one message: a line of the Postfix log, or the milter's record of a session.
type Event struct {
	ID       EventID
	Time     time.Time // of the log stamp, or of the milter's end of message
	Since    time.Time // for Recorded: when the milter was told that the message began; zero elsewhere
	Earliest time.Time // for Recorded: the message didn't begin before; zero: not before Since
	QueueID  string    // empty for refusals before Postfix gave one; see Choose
	Instance string    // Postfix instance, where known: the first part of syslog_name
	Body     Body
}

// Body is what happened. The types below are all there are.
type Body interface {
	apply(m *Message, e *Event)
	opens() opening
}

// opening says which source a body opens a message for; a message is opened once a source at the most.
type opening int

const (
	opensNothing opening = iota
	opensWeakly          // begins a message only where none is open: cleanup, qmgr
	opensForLog          // smtpd client=, pickup uid=
	opensForMilter
)

// The events. Arrived comes from smtpd's and pickup's first line about a queue id.
type (
	Arrived struct {
		Client Client
		Sender string // pickup only
		Hop    *Hop   // what the log knows of it: the queue id on the origin; nil unless the fleet's hop service took the mail
	}

	// Cleaned is cleanup's message-id line. Mail that Postfix makes itself (bounces) begins with it.
	Cleaned struct{ MessageID string }

	// Activated is qmgr's line for a message that enters the active queue.
	Activated struct {
		Sender     string
		Size       int64
		Recipients int
	}

	// Attempted is a status= line: one try for one recipient.
	Attempted struct {
		Recipient string
		OrigTo    string
		Attempt   Attempt
	}

	// Refused is a reject, milter-reject or discard line. Whole: the message itself was refused, not one recipient.
	Refused struct {
		Client    Client
		Sender    string
		Recipient string
		DSN       string
		Reply     string // code and text as the client saw them, or as much as the log has
		Whole     bool
	}

	// Recorded is the milter's account of a message or a refused transaction. Recipients carry Address, Next, and for
	// refused ones Status, DSN and Reply.
	Recorded struct {
		Client      Client
		Source      Source
		Hop         *Hop // with SourceHop: the origin
		Sender      string
		Recipients  []Recipient
		HeaderFrom  string
		HeaderTo    string
		Subject     string
		MessageID   string
		Date        string
		AuthResults []string // of test messages
		Size        int64
		Signatures  []Signature
		Unsigned    string
		Verdict     Verdict
		Reply       string
		Transcript  *Transcript // inbound; nil when transcripts are off
	}

	// Conversation is an outbound transcript for attempts of one message. It comes again, longer, under the same key.
	Conversation struct {
		Transcript Transcript
		Attempts   []EventID
	}

	// HoldChanged is postsuper's or cleanup's hold, and its release.
	HoldChanged struct {
		Held      bool
		Sender    string // with Recipient, where a rule did it and its line names them
		Recipient string
	}

	// Expired is qmgr's "status=expired, returned to sender" and postsuper's forced expiry.
	Expired struct{}

	// Left is the end of the queue file.
	Left struct {
		By        LeftBy
		Reason    string // of LeftDiscarded, with Sender and Recipient, where the log has them
		Sender    string
		Recipient string
	}

	// Reported is the carrier's word on one recipient of a message that this node handed over. It changes nothing unless
	// the recipient's last attempt handed this very mail to that node; see [Message.Apply].
	Reported struct {
		ID        MessageID // of the message here; the event's queue id may be another's by now
		MessageID string    // of the mail, as the carrier has it
		Recipient string    // the address that this node sent
		Carried   Carried
	}

	// Linked joins another queue id to this message.
	Linked struct {
		Kind    LinkKind
		QueueID string
	}
)

// LeftBy says who removed a queue file.
type LeftBy string

// The ways out of the queue.
const (
	LeftDone     LeftBy = "done"     // qmgr: every recipient is settled
	LeftDeleted  LeftBy = "deleted"  // postsuper -d
	LeftRequeued LeftBy = "requeued" // postsuper -r
	LeftCanceled LeftBy = "canceled" // cleanup: the session ended before the message was complete
	// LeftDiscarded: a rule of the node's own (access table, header or body check, milter) took the message and threw it away.
	LeftDiscarded LeftBy = "discarded"
)

func (*Arrived) opens() opening      { return opensForLog }
func (*Cleaned) opens() opening      { return opensWeakly }
func (*Activated) opens() opening    { return opensWeakly }
func (*Attempted) opens() opening    { return opensWeakly }
func (*Refused) opens() opening      { return opensWeakly }
func (*Recorded) opens() opening     { return opensForMilter }
func (*Conversation) opens() opening { return opensNothing }
func (*HoldChanged) opens() opening  { return opensWeakly }
func (*Expired) opens() opening      { return opensWeakly }
func (*Left) opens() opening         { return opensNothing }
func (*Reported) opens() opening     { return opensNothing }
func (*Linked) opens() opening       { return opensWeakly }
