package milter

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	gomilter "github.com/d--j/go-milter"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Bounds of what is kept of a message, whatever the peer sends.
const (
	maxRecipients = 20000
	maxEnvelope   = 2 << 20 // bytes of recipients and their replies
	maxAddress    = 1024
	maxName       = 512
)

const signatureField = "DKIM-Signature"

// message is one message from MAIL to its end.
type message struct {
	session    *session
	policy     *Policy
	signing    Signing   // nil: not to be signed
	handover   *handover // nil: not through the fleet's hop service
	present    present
	begun      time.Time
	earliest   time.Time // it didn't begin before
	queueID    string
	recorded   fleet.Recorded
	refused    int // recipients
	omitted    int // recipients beyond the bounds
	held       int // bytes of recipients
	fields     int
	headers    keptHeaders
	transcript *transcript
}

func (s *session) begin(from, args, queueID string) *message {
	now := s.now()
	policy := s.server.policy.Load()
	m := &message{session: s, policy: policy, begun: now, earliest: s.heard, queueID: queueID}
	m.recorded.Source = policy.source(&s.client, s.local, s.service)
	m.recorded.Sender = clean(from, maxAddress)
	if policy.Transcripts {
		m.transcript = newTranscript(s.opening)
	}
	if h := s.handedOver(from); h != nil {
		m.take(h, now)
	}
	if m.maySign() && policy.Sign != nil {
		m.signing = policy.Sign(now)
	}
	if policy.Transcripts {
		m.transcript.say(now, fleet.ClientSays, command("MAIL FROM:<"+from+">", args))
	}
	s.count++
	return m
}

// maySign tells whether this node signs the message, if it can.
func (m *message) maySign() bool {
	if m.handover != nil {
		return m.handover.signsHop()
	}
	return m.recorded.Source != fleet.SourceExternal
}

func command(verb, args string) string {
	if args == "" {
		return verb
	}
	return verb + " " + args
}

func (m *message) learnQueueID(id string) {
	if id != "" {
		m.queueID = clean(id, maxName)
	}
}

// rejected is {rcpt_mailer} for a recipient that Postfix refused; {rcpt_host} then is the enhanced status code of the reply
// and {rcpt_addr} its text without the address in front (smtpd_milter_eval in smtpd_milter.c). The SMTP code is not told.
const rejected = "error"

func (m *message) recipient(to, args, mailer, host, addr string, now time.Time) {
	r := fleet.Recipient{Address: clean(to, maxAddress), Status: fleet.StatusQueued}
	answer := "250 2.1.5 Ok"
	switch {
	case mailer == rejected:
		m.refused++
		r.Status, r.Refused = fleet.StatusRejected, true
		r.DSN = clean(host, maxName)
		r.Reply = clean(host+" "+addr, maxLine)
		answer = r.Reply
	case mailer != "":
		r.Next = clean(mailer+":"+host, maxName)
	}
	size := len(r.Address) + len(r.Next) + len(r.Reply)
	if len(m.recorded.Recipients) < maxRecipients && m.held+size <= maxEnvelope {
		m.held += size
		m.recorded.Recipients = append(m.recorded.Recipients, r)
	} else {
		m.omitted++
	}
	m.transcript.recipient(now, command("RCPT TO:<"+to+">", args), answer)
}

func (m *message) data(now time.Time) { m.transcript.say(now, fleet.ClientSays, "DATA") }

func (m *message) header(name, value string) {
	m.fields++
	m.recorded.Size += int64(len(name) + len(value) + len(":\r\n") + strings.Count(value, "\n"))
	m.headers.keep(name, value)
	above := m.present.note(name, value)
	if m.signing != nil && !(above && m.handover != nil) { // what may be taken out isn't signed
		m.signing.Header(name, value)
	}
}

func (m *message) body(chunk []byte) {
	m.recorded.Size += int64(len(chunk))
	if m.signing != nil {
		m.signing.Body(chunk)
	}
}

// finish signs the message and makes the event about it.
func (m *message) finish(modifier gomilter.Modifier, broken bool, now time.Time) *fleet.Event {
	m.recorded.Size += int64(len("\r\n")) // between header and body
	m.transcript.say(now, fleet.Note, fmt.Sprintf("message of %d bytes with %d header fields", m.recorded.Size, m.fields))
	if broken {
		m.answer(fleet.VerdictTempfail, replyBroken)
		return m.event(now)
	}
	if m.refuseStranger() {
		return m.event(now)
	}
	signed := m.sign(now)
	if signed.Refuse != fleet.VerdictNone {
		m.recorded.Unsigned = signed.Unsigned
		m.transcript.say(now, fleet.Note, "not signed: "+signed.Unsigned)
		m.answer(signed.Refuse, signed.Reply)
		return m.event(now)
	}
	err := m.exchange(modifier, &signed, now)
	m.recorded.Signatures, m.recorded.Unsigned = signed.Signatures, signed.Unsigned
	for _, s := range signed.Signatures {
		m.transcript.say(now, fleet.Note, fmt.Sprintf("signed for %s, selector %s, %s", s.Domain, s.Selector, s.Algorithm))
	}
	if signed.Unsigned != "" {
		m.transcript.say(now, fleet.Note, "not signed: "+signed.Unsigned)
	}
	if err != nil {
		m.session.server.complain.warn(m.session.server.options.Log, "can't add a signature", zap.Error(err))
		m.recorded.Signatures = nil
		m.answer(fleet.VerdictTempfail, replyBroken)
		return m.event(now)
	}
	m.answer(fleet.VerdictAccepted, "")
	return m.event(now)
}

func (m *message) sign(now time.Time) fleet.Signed {
	switch {
	case m.handover != nil && m.signing == nil:
		return fleet.Signed{Unsigned: m.handover.leftTo()}
	case m.handover != nil && !m.present.signedLast():
		// The origin knows where the mail came from: what somebody sent in with a From field of ours is not to be signed here.
		return fleet.Signed{Unsigned: m.handover.origin + " didn't sign it"}
	case m.recorded.Source == fleet.SourceExternal:
		return fleet.Signed{Unsigned: "mail from elsewhere"}
	case m.signing == nil:
		return fleet.Signed{Unsigned: "signing is off"}
	}
	server := m.session.server
	start := time.Now()
	signed, err := m.signing.Finish(now)
	server.metrics.signSeconds.Observe(time.Since(start).Seconds())
	if err != nil {
		server.metrics.signErrors.Inc()
		server.complain.warn(server.options.Log, "can't sign", zap.String("queue_id", m.queueID), zap.Error(err))
	}
	if m.handover != nil { // it was signed where it came in, so it goes on as it is
		signed.Refuse, signed.Reply = fleet.VerdictNone, ""
	}
	return signed
}

// insert puts the signatures on top of the header, above Postfix's own Received: a signature is a trace field and goes
// before what it signs (RFC 6376 sections 3.5 and 5.6), also where header_checks took that Received away. What is
// inserted last comes out first.
func insert(modifier gomilter.Modifier, fields []string) error {
	for i := len(fields) - 1; i >= 0; i-- {
		value := fields[i]
		if modifier.Protocol()&gomilter.OptHeaderLeadingSpace == 0 {
			value = strings.TrimPrefix(value, " ") // the MTA puts it there
		}
		if err := modifier.InsertHeader(0, signatureField, value); err != nil {
			return err
		}
	}
	return nil
}

func (m *message) answer(verdict fleet.Verdict, reply string) {
	m.recorded.Verdict, m.recorded.Reply = verdict, reply
}

// abandoned makes the event about a message that ended before its end: refused recipient by recipient, or given up.
func (m *message) abandoned(now time.Time) *fleet.Event {
	if m.refused > 0 && m.refused == len(m.recorded.Recipients)+m.omitted {
		m.answer(fleet.VerdictRejected, m.recorded.Recipients[len(m.recorded.Recipients)-1].Reply)
	} else {
		m.answer(fleet.VerdictAborted, "")
		m.transcript.say(now, fleet.Note, "the message didn't come to its end")
	}
	return m.event(now)
}

// event is what is recorded. m is not used after it.
func (m *message) event(now time.Time) *fleet.Event {
	s := m.session
	m.headers.record(&m.recorded, m.policy.Headers)
	m.recorded.Client = s.client
	if m.transcript != nil {
		switch {
		case m.recorded.Verdict == fleet.VerdictAccepted:
			m.transcript.say(now, fleet.ServerSays, "250 2.0.0 Ok: queued as "+m.queueID)
		case m.recorded.Verdict != fleet.VerdictAborted && m.refused < len(m.recorded.Recipients)+m.omitted:
			m.transcript.say(now, fleet.ServerSays, m.recorded.Reply)
		}
		m.recorded.Transcript = m.transcript.finish(s, &m.recorded, now)
	}
	return &fleet.Event{ID: fleet.EventID(rand.Uint64() | 1), Time: now, Since: m.begun, Earliest: m.earliest,
		QueueID: m.queueID, Body: &m.recorded}
}
