package postfixlog

import (
	"bytes"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// verdict is a line that says what a session or a message met with (smtpd_check.c, cleanup_message.c, cleanup_milter.c,
// postscreen_smtpd.c in Postfix' source):
//
//	ACTION: STAGE from CLIENT: REPLY; from=<A> to=<B> proto=P helo=<H> [sasl_…]
//	ACTION: header TEXT from CLIENT; from=<A> to=<B> proto=P helo=<H>[: REPLY]
type verdict struct {
	action []byte
	stage  []byte // CONNECT, MAIL, RCPT, DATA, END-OF-MESSAGE, header, body, …
	client fleet.Client
	sender []byte
	to     []byte
	reply  []byte
}

// readVerdict reads the text behind the queue id; ok is false for anything of another shape.
func readVerdict(text []byte, v *verdict) bool {
	*v = verdict{}
	action, rest, ok := cut(text, ": ")
	if !ok || !isAction(action) {
		return false
	}
	v.action = action
	space := bytes.IndexByte(rest, ' ')
	if space < 0 {
		return false
	}
	v.stage = bytes.TrimSuffix(rest[:space], []byte(":"))
	switch string(v.stage) {
	case "header", "body", "mime-error":
		return v.readContent(rest[space+1:])
	}
	if begins(action, "proxy-") { // proxy-reject: END-OF-MESSAGE: REPLY; …
		v.reply = v.readEnvelope(rest[space+1:])
		return true
	}
	from, ok := after(rest[space:], " from ")
	if !ok {
		return false
	}
	p, rest, ok := splitPeer(from)
	if !ok {
		return false
	}
	if rest, ok = after(rest, ": "); !ok {
		return false
	}
	v.setClient(p)
	v.reply = v.readEnvelope(rest)
	return true
}

// readContent reads the second form. The text that matched came out of the message and may hold anything, so what
// follows it is looked for from the end.
func (v *verdict) readContent(rest []byte) bool {
	semicolon := bytes.LastIndex(rest, []byte("; from=<"))
	if semicolon < 0 {
		if semicolon = bytes.LastIndex(rest, []byte("; ")); semicolon < 0 {
			return false
		}
	}
	if from := bytes.LastIndex(rest[:semicolon], []byte(" from ")); from >= 0 {
		if p, ok := readPeer(rest[from+len(" from ") : semicolon]); ok {
			v.setClient(p)
		}
	}
	v.readEnvelope(rest[semicolon:])
	tail := rest[semicolon:]
	for _, end := range [...]string{" helo=<", " to=<", " from=<"} {
		if at := bytes.LastIndex(tail, []byte(end)); at >= 0 {
			if _, behind, ok := angled(tail[at+len(end):]); ok {
				v.reply, _ = after(behind, ": ")
			}
			break
		}
	}
	return true
}

// readEnvelope reads "REPLY; from=<A> to=<B> proto=P helo=<H> …" (postscreen has commas between) and returns the reply.
func (v *verdict) readEnvelope(rest []byte) (reply []byte) {
	at := -1
	for _, first := range [...]string{"; from=<", "; to=<", "; proto="} {
		if at = bytes.LastIndex(rest, []byte(first)); at >= 0 {
			break
		}
	}
	if at < 0 {
		return bytes.TrimSuffix(rest, []byte(";"))
	}
	envelope := rest[at+1:]
	v.sender = field(envelope, " from=<")
	v.to = field(envelope, " to=<")
	v.client.Proto = string(word(envelope, " proto="))
	v.client.HELO = string(field(envelope, " helo=<"))
	v.client.AuthMethod = string(word(envelope, " sasl_method="))
	v.client.AuthUser = strings.Trim(string(word(envelope, " sasl_username=")), "<>")
	return rest[:at]
}

func (v *verdict) setClient(p peer) {
	v.client.Addr, v.client.Name, v.client.Port = p.address(), p.hostName(), p.port
}

func isAction(b []byte) bool {
	switch string(b) {
	case "reject", "reject_warning", "hold", "discard", "warn", "warning", "info", "filter", "redirect", "bcc", "delay", "hangup",
		"replace", "prepend", "strip", "pass", "permit",
		"milter-reject", "milter-hold", "milter-discard", "proxy-reject", "proxy-accept":
		return true
	}
	return begins(b, "milter-header-") || begins(b, "milter-body-")
}

// refusal is the event of a verdict that refuses; nil where the session had not got as far as an envelope, for then
// there is no message to tell of.
func (v *verdict) refusal() *fleet.Refused {
	if v.sender == nil && v.to == nil {
		return nil
	}
	reply := string(v.reply)
	return &fleet.Refused{Client: v.client, Sender: string(v.sender), Recipient: string(v.to), Reply: reply, DSN: enhancedCode(reply),
		Whole: string(v.stage) != "RCPT"}
}

// outcome folds the actions of the different programs and restrictions into what they do to the message.
func (v *verdict) outcome() string {
	action := string(v.action)
	if at := strings.LastIndexByte(action, '-'); at >= 0 {
		action = action[at+1:]
	}
	return action
}

// enhancedCode finds the enhanced status code of a reply (RFC 3463), with the basic code before it or without.
func enhancedCode(reply string) string {
	if len(reply) > 4 && (reply[3] == ' ' || reply[3] == '-') && reply[0] >= '2' && reply[0] <= '5' {
		reply = reply[4:]
	}
	code, _, _ := strings.Cut(reply, " ")
	parts := strings.Split(code, ".")
	if len(parts) != 3 || len(code) > len("5.999.999") || len(parts[0]) != 1 {
		return ""
	}
	for _, part := range parts {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return ""
		}
	}
	return code
}
