package milter

import (
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	gomilter "github.com/d--j/go-milter"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// session is one milter connection: one SMTP session, or several one after the other. The library calls its methods from one
// goroutine. Answers before the end of a message are not asked for (see negotiate), so that whatever goes wrong is
// remembered and answered there.
type session struct {
	server  *Server
	client  fleet.Client
	service string // {daemon_name}
	local   bool
	opening []fleet.Line // transcript up to the first MAIL
	count   int          // messages so far
	message *message     // under way; nil between messages
	broken  bool         // a callback panicked: what follows is not to be trusted

	// opened is when the MTA opened the connection, which it does when its client connects; zero when that was told. The
	// events that follow come in batches, when Postfix needs an answer or ends the session.
	opened time.Time
	// heard is when the MTA last was in step with the milter: it opened the connection, or waited for an answer. What it
	// tells next happened after that, however late it comes.
	heard time.Time

	takesBody bool // the MTA wants no answers to pieces of the body, so that the guard may keep them from the library
}

// replyBroken is answered where a callback panicked.
const replyBroken = "451 4.3.0 Message could not be filtered, try again later"

var broken = reply(replyBroken)

// recovered ends what a panic began: the session gets temporary failures from here on, the daemon lives.
func (s *session) recovered(during string) {
	r := recover()
	if r == nil {
		return
	}
	s.broken = true
	s.server.metrics.panics.Inc()
	s.server.complain.warn(s.server.options.Log, "panic in a milter session", zap.String("during", during),
		zap.String("panic", fmt.Sprint(r)), zap.ByteString("stack", debug.Stack()))
}

func (s *session) now() time.Time { return s.server.options.Clock() }

// NewConnection begins an SMTP session, the first one of this milter connection or a further one.
func (s *session) NewConnection(m gomilter.Modifier) error {
	defer s.recovered("connection")
	s.abandon()
	heard := s.heard
	if heard.IsZero() {
		heard = s.now()
	}
	if !s.opened.IsZero() && s.opened.Before(heard) {
		heard = s.opened
	}
	*s = session{server: s.server, opened: s.opened, heard: heard, takesBody: m.Protocol()&gomilter.OptNoBodyReply != 0}
	return nil
}

// Connect has the client's address.
func (s *session) Connect(host, family string, port uint16, addr string, m gomilter.Modifier) (*gomilter.Response, error) {
	defer s.recovered("CONNECT")
	s.local = submittedLocally(host, addr, port)
	s.service = m.Get(gomilter.MacroDaemonName)
	if s.local {
		s.say(fleet.Note, "submitted on this host, without SMTP")
		return gomilter.RespContinue, nil
	}
	if family == "tcp4" || family == "tcp6" {
		s.client.Addr = addr
	}
	s.client.Port = int(port)
	if host != "unknown" && !strings.HasPrefix(host, "[") { // Postfix gives [ADDR] for a client without a verified name
		s.client.Name = clean(host, maxName)
	}
	s.say(fleet.Note, "connect from "+s.peer())
	if !s.opened.IsZero() {
		s.opening[0].Time, s.opened = s.opened, time.Time{}
	}
	return gomilter.RespContinue, nil
}

// Helo comes again after STARTTLS, then with the macros of TLS.
func (s *session) Helo(name string, m gomilter.Modifier) (*gomilter.Response, error) {
	defer s.recovered("HELO")
	s.abandon()
	if s.local {
		return gomilter.RespContinue, nil
	}
	if version := m.Get(gomilter.MacroTlsVersion); version != "" && s.client.TLSVersion == "" {
		if s.client.HELO != "" { // else the connection began with TLS
			s.say(fleet.ClientSays, "STARTTLS")
		}
		s.client.TLSVersion = clean(version, maxName)
		s.client.TLSCipher = clean(m.Get(gomilter.MacroCipher), maxName)
		s.client.TLSBits, _ = strconv.Atoi(m.Get(gomilter.MacroCipherBits))
		s.say(fleet.Note, "TLS: "+s.tls())
	}
	s.client.HELO = clean(name, maxName)
	s.say(fleet.ClientSays, "EHLO "+s.client.HELO)
	return gomilter.RespContinue, nil
}

// MailFrom begins a message.
func (s *session) MailFrom(from, args string, m gomilter.Modifier) (*gomilter.Response, error) {
	defer s.recovered("MAIL")
	s.abandon()
	if user := m.Get(gomilter.MacroAuthAuthen); user != s.client.AuthUser {
		s.client.AuthUser = clean(user, maxName)
		s.client.AuthMethod = clean(m.Get(gomilter.MacroAuthType), maxName)
		if user != "" {
			s.say(fleet.ClientSays, "AUTH "+s.client.AuthMethod)
			s.say(fleet.Note, "authenticated as "+s.client.AuthUser)
		}
	}
	s.message = s.begin(from, args, m.Get(gomilter.MacroQueueId))
	return gomilter.RespContinue, nil
}

// RcptTo has a recipient, and whether Postfix refused it.
func (s *session) RcptTo(to, args string, m gomilter.Modifier) (*gomilter.Response, error) {
	defer s.recovered("RCPT")
	if s.message != nil {
		s.message.learnQueueID(m.Get(gomilter.MacroQueueId))
		s.message.recipient(to, args, m.Get(gomilter.MacroRcptMailer), m.Get(gomilter.MacroRcptHost), m.Get(gomilter.MacroRcptAddr), s.now())
	}
	return gomilter.RespContinue, nil
}

// Data has the queue id.
func (s *session) Data(m gomilter.Modifier) (*gomilter.Response, error) {
	defer s.recovered("DATA")
	if s.message != nil {
		s.message.learnQueueID(m.Get(gomilter.MacroQueueId))
		s.message.data(s.now())
	}
	return gomilter.RespContinue, nil
}

// Header has one header field.
func (s *session) Header(name, value string, m gomilter.Modifier) (*gomilter.Response, error) {
	defer s.recovered("header")
	if s.message != nil && !s.broken {
		if m.Protocol()&gomilter.OptHeaderLeadingSpace == 0 {
			value = " " + value // the MTA ate it
		}
		s.message.header(name, value)
	}
	return gomilter.RespContinue, nil
}

// Headers is the end of the header.
func (s *session) Headers(gomilter.Modifier) (*gomilter.Response, error) {
	return gomilter.RespContinue, nil
}

// BodyChunk has a piece of the body, from an MTA that wants an answer to each.
func (s *session) BodyChunk(chunk []byte, _ gomilter.Modifier) (*gomilter.Response, error) {
	s.body(chunk)
	return gomilter.RespContinue, nil
}

// body takes a piece of the body and doesn't keep it.
func (s *session) body(chunk []byte) {
	defer s.recovered("body")
	if s.message != nil && !s.broken {
		s.message.body(chunk)
	}
}

// EndOfMessage signs, records and answers.
func (s *session) EndOfMessage(m gomilter.Modifier) (*gomilter.Response, error) {
	if response := s.end(m); response != nil {
		return response, nil
	}
	return broken, nil
}

// end is nil when it panicked.
func (s *session) end(m gomilter.Modifier) *gomilter.Response {
	defer s.recovered("end of message")
	message := s.message
	s.message = nil
	if message == nil {
		return nil
	}
	message.learnQueueID(m.Get(gomilter.MacroQueueId))
	event := message.finish(m, s.broken, s.now())
	s.server.journal.commit(event)
	s.heard = s.now()
	recorded := event.Body.(*fleet.Recorded)
	s.server.countMessage(recorded)
	if recorded.Verdict == fleet.VerdictAccepted {
		return gomilter.RespAccept
	}
	return reply(recorded.Reply)
}

// Abort ends a message that didn't come to its end. Postfix sends it after every message as well.
func (s *session) Abort(gomilter.Modifier) error {
	defer s.recovered("abort")
	s.abandon()
	return nil
}

// Unknown is not asked for.
func (s *session) Unknown(string, gomilter.Modifier) (*gomilter.Response, error) {
	return gomilter.RespContinue, nil
}

// Cleanup ends the connection.
func (s *session) Cleanup(gomilter.Modifier) {
	defer s.recovered("end of connection")
	s.abandon()
}

// abandon records the message under way, if there is one, as one that didn't come to its end.
func (s *session) abandon() {
	if s.message == nil {
		return
	}
	message := s.message
	s.message = nil
	event := message.abandoned(s.now())
	s.server.countMessage(event.Body.(*fleet.Recorded))
	s.server.journal.enqueue(event)
}

// say adds a line to the part of the transcript that all messages of the session share.
func (s *session) say(from fleet.Speaker, text string) {
	if len(s.opening) < maxOpening {
		s.opening = append(s.opening, fleet.Line{Time: s.now(), From: from, Text: clean(text, maxLine)})
	}
}

// peer is the client as Postfix logs it: NAME[ADDRESS]:PORT.
func (s *session) peer() string {
	name := s.client.Name
	if name == "" {
		name = "unknown"
	}
	text := name + "[" + s.client.Addr + "]"
	if s.client.Port > 0 {
		text += ":" + strconv.Itoa(s.client.Port)
	}
	return text
}

// tls is the session's TLS in the words of Postfix's log.
func (s *session) tls() string {
	if s.client.TLSVersion == "" {
		return ""
	}
	text := s.client.TLSVersion + " with cipher " + s.client.TLSCipher
	if s.client.TLSBits > 0 {
		text += fmt.Sprintf(" (%d bits)", s.client.TLSBits)
	}
	return text
}

// reply makes an SMTP reply, code and enhanced code first, into the library's form.
func reply(text string) *gomilter.Response {
	code, rest, _ := cutCode(text)
	response, err := gomilter.RejectWithCodeAndReason(code, rest)
	if err != nil {
		return gomilter.RespTempFail
	}
	return response
}

func cutCode(text string) (code uint16, rest string, ok bool) {
	if len(text) < 4 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(text[:3], 10, 16)
	return uint16(n), text[4:], err == nil
}
