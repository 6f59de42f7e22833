package aggregator

import (
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// mark is how a state is shown: an icon of the sprite, a tone of the style sheet, words, and a longer explanation for
// the tooltip. The words are always there; colour only repeats them.
type mark struct {
	Icon string
	Tone string // good, wait, bad, refused, quiet, carried
	Text string
	Note string
}

var fateMarks = map[fleet.Fate]mark{
	fleet.FateQueued:    {"queued", "wait", "Queued", "In the queue, no attempt yet"},
	fleet.FateRelayed:   {"relayed", "carried", "In transit", "Another node of the fleet took it over, and hasn't delivered it yet"},
	fleet.FateDeferred:  {"deferred", "wait", "Deferred", "An attempt failed for now; Postfix tries again"},
	fleet.FateHeld:      {"held", "wait", "Held", "On hold until an administrator releases it"},
	fleet.FateDelivered: {"delivered", "good", "Delivered", "The next server took it for every recipient"},
	fleet.FatePartly:    {"partly", "bad", "Partly", "Delivered to some recipients, and to others not"},
	fleet.FateBounced:   {"bounced", "bad", "Bounced", "Refused for good or given up; the sender was told"},
	fleet.FateRejected:  {"rejected", "refused", "Rejected", "Refused during the session; this server never took it"},
	fleet.FateAborted:   {"aborted", "refused", "Aborted", "The client went away before the message was complete"},
	fleet.FateDeleted:   {"deleted", "quiet", "Deleted", "Removed by an administrator, or thrown away by a rule"},
	fleet.FateRequeued:  {"requeued", "quiet", "Requeued", "Lives on under another queue id"},
	fleet.FateUnknown:   {"unknown", "quiet", "Unknown", "Left the queue, and the log doesn't say how"},
}

var statusMarks = map[fleet.Status]mark{
	fleet.StatusQueued:    fateMarks[fleet.FateQueued],
	fleet.StatusRelayed:   fateMarks[fleet.FateRelayed],
	fleet.StatusDeferred:  fateMarks[fleet.FateDeferred],
	fleet.StatusHeld:      fateMarks[fleet.FateHeld],
	fleet.StatusDelivered: {"delivered", "good", "Delivered", "The next server took it"},
	fleet.StatusBounced:   {"bounced", "bad", "Bounced", "Refused for good; the sender was told"},
	fleet.StatusExpired:   {"expired", "bad", "Expired", "Given up after the longest time in the queue; the sender was told"},
	fleet.StatusRejected:  fateMarks[fleet.FateRejected],
	fleet.StatusDeleted:   fateMarks[fleet.FateDeleted],
	fleet.StatusRequeued:  fateMarks[fleet.FateRequeued],
	fleet.StatusUnknown:   fateMarks[fleet.FateUnknown],
}

func fateMark(m *fleet.Message) mark { return fateMarks[m.Fate()] }

func statusMark(s fleet.Status) mark {
	if known, ok := statusMarks[s]; ok {
		return known
	}
	return mark{"unknown", "quiet", plain(string(s)), "A status that this version doesn't know"}
}

// attemptMark shows one status= line of the log, in its own word where it has no status of ours.
func attemptMark(a *fleet.Attempt) mark {
	switch a.Status {
	case "sent":
		return statusMarks[fleet.StatusDelivered]
	case "deferred", "bounced", "expired":
		return statusMarks[fleet.Status(a.Status)]
	}
	return mark{"unknown", "quiet", plain(a.Status), "As Postfix logged it"}
}

// How a conversation was protected. The empty mark: there was no conversation over the network.
var (
	markEncrypted = mark{"lock", "good", "encrypted", "The delivery was encrypted with TLS"}
	markClear     = mark{"unlock", "wait", "in clear", "The delivery was not encrypted"}
)

// outMark tells how the deliveries that succeeded were protected.
func outMark(m *fleet.Message) mark {
	var encrypted, open int
	for i := range m.Recipients {
		switch m.Recipients[i].SentTLS() {
		case fleet.TLSYes:
			encrypted++
		case fleet.TLSNo:
			open++
		}
	}
	switch {
	case encrypted > 0 && open > 0:
		return arrowMixed
	case encrypted > 0:
		return arrowEncrypted
	case open > 0:
		return arrowClear
	}
	return mark{}
}

// inMark tells how the message came in.
func inMark(m *fleet.Message) mark {
	switch {
	case m.IsHop():
		return mark{"in-hop", "carried", "taken over", "Taken over from another node of the fleet"}
	case m.Client.TLSVersion != "":
		return mark{"in-lock", "good", "received with STARTTLS", "Received from the client over " + plain(m.Client.TLSVersion)}
	case m.Client.Addr != "":
		return mark{"in-clear", "quiet", "received in clear", "Received from the client without encryption"}
	case strings.HasPrefix(m.Client.Service, "bounce") || m.Client.UID == "" && m.Sender == "" && m.QueueID != "":
		return mark{"in-local", "quiet", "made by Postfix", "A notification that Postfix itself made"}
	}
	return mark{"in-local", "quiet", "local submission", "Handed in on the node itself, through sendmail"}
}

// dsnWords explains the enhanced status codes that mail administrators meet most (RFC 3463, and IANA's registry).
var dsnWords = map[string]string{
	"0.0": "other or undefined status", "1.1": "no such mailbox", "1.2": "no such domain", "1.3": "malformed recipient address",
	"1.7": "malformed sender address", "1.8": "sender's domain doesn't exist", "1.10": "recipient's domain takes no mail (null MX)",
	"2.0": "mailbox trouble", "2.1": "mailbox disabled", "2.2": "mailbox full", "2.3": "message too large for the mailbox",
	"3.0": "mail system trouble", "3.1": "mail system full", "3.2": "mail system takes no mail at present", "3.4": "message too large",
	"4.1": "no answer from the host", "4.2": "bad connection", "4.3": "directory or DNS trouble", "4.4": "no route to the destination",
	"4.6": "routing loop", "4.7": "delivery took too long", "5.0": "protocol trouble", "5.1": "invalid command",
	"5.2": "syntax error", "5.3": "too many recipients", "6.0": "content trouble", "6.7": "internationalised mail not supported",
	"7.0": "security or policy", "7.1": "refused by policy", "7.4": "security feature not supported", "7.5": "cryptographic failure",
	"7.8": "authentication failed", "7.20": "no passing DKIM signature", "7.23": "SPF failed", "7.25": "no reverse DNS for the sending host",
	"7.26": "neither SPF nor DKIM passed", "7.27": "sender's domain takes no mail (null MX)", "7.28": "mail flood detected",
}

// dsnNote explains an enhanced status code, or is empty.
func dsnNote(code string) string {
	class, detail, ok := strings.Cut(code, ".")
	if !ok {
		return ""
	}
	words := dsnWords[detail]
	switch {
	case class == "2":
		return "success"
	case words == "":
		return ""
	case class == "4":
		return words + ", temporary"
	}
	return words + ", permanent"
}

// legendEntry is one line of the help page's list of icons.
type legendEntry struct {
	Heading string
	Marks   []mark
}

// legend is every icon that the pages use, with its words.
func legend() []legendEntry {
	var fates []mark
	for _, fate := range []fleet.Fate{fleet.FateDelivered, fleet.FateQueued, fleet.FateRelayed, fleet.FateDeferred, fleet.FateHeld, fleet.FatePartly,
		fleet.FateBounced, fleet.FateRejected, fleet.FateAborted, fleet.FateDeleted, fleet.FateRequeued, fleet.FateUnknown} {
		fates = append(fates, fateMarks[fate])
	}
	return []legendEntry{
		{"How it came in", []mark{
			{"in-lock", "good", "Received with STARTTLS", "The client spoke TLS to the node"},
			{"in-clear", "quiet", "Received in clear", "The client spoke without encryption"},
			{"in-local", "quiet", "Local", "Handed in on the node itself, or made by Postfix"},
			{"in-hop", "carried", "Taken over", "A hop: another node of the fleet handed it over"},
		}},
		{"What became of it", append(fates, statusMarks[fleet.StatusExpired])},
		{"How it was sent", []mark{named("Delivered, encrypted", arrowEncrypted), named("Delivered in clear", arrowClear),
			named("Delivered by another node, encrypted", arrowCarriedLock), named("Delivered by another node, in clear", arrowCarriedClear),
			named("With another node", arrowTransit), named("Failed to next hop", arrowFailed)}},
	}
}

// named is a mark under the words of the legend, which have more room.
func named(text string, m mark) mark {
	m.Text = text
	return m
}
