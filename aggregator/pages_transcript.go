package aggregator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// mostLines of one transcript are shown.
const mostLines = 2000

// mostOpen conversations of one message are all unfolded.
const mostOpen = 4

// transcriptSet is what the node answered when it was asked for a message's conversations, just now.
type transcriptSet struct {
	Message *fleet.Message
	Link    string // address that fetches them again
	Answer  Answer
	Error   string
	Away    bool
	Views   []transcriptView
	all     []fleet.Transcript
}

type transcriptView struct {
	fleet.Transcript
	Anchor     string
	Shown      []lineView
	Hidden     int
	Took       time.Duration
	Coarse     bool   // the stamps have whole seconds, as Postfix's own log file writes them
	Silent     bool   // an outbound one in which neither side spoke
	Open       bool   // shown at once; with many conversations those that went well are folded
	Ending     string // the last reply
	EndingTone string
}

type lineView struct {
	fleet.Line
	Offset string // since the conversation began: +12 ms
	Class  string
	Arrow  string // who speaks, in words for readers of the text alone
	Code   string // first digit of a server's reply
}

func (s *Server) pageTranscripts(w http.ResponseWriter, r *http.Request) {
	node, id, err := pageMessageOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	set := s.fetchTranscripts(r, node, id)
	m, _, err := s.fleet.Message(r.Context(), node, id)
	if err == nil {
		set.Message = m
	}
	status := http.StatusOK
	if set.Away {
		status = http.StatusServiceUnavailable
	}
	s.render(w, r, status, "transcripts", "Conversations on "+node, set)
}

// fetchTranscripts asks the node that has them; they are kept nowhere else.
func (s *Server) fetchTranscripts(r *http.Request, node string, id fleet.MessageID) transcriptSet {
	set := transcriptSet{Link: messageLink(node, id) + "/transcripts"}
	transcripts, answer, err := s.fleet.Transcripts(r.Context(), node, id)
	set.Answer = answer
	set.Answer.Node = node
	if err != nil {
		set.Error = publicMessage(err)
		set.Away = fleet.CodeOf(err) == fleet.CodeUnavailable
		return set
	}
	set.all = transcripts
	for i := range transcripts {
		view := newTranscriptView(&transcripts[i])
		view.Open = len(transcripts) <= mostOpen || view.Silent || view.EndingTone == "wait" || view.EndingTone == "bad"
		set.Views = append(set.Views, view)
	}
	return set
}

func newTranscriptView(t *fleet.Transcript) transcriptView {
	view := transcriptView{Transcript: *t, Anchor: transcriptAnchor(t.Key), Took: t.Ended.Sub(t.Started), Coarse: coarse(t.Lines),
		Silent: t.Direction == fleet.Outbound}
	for i := range t.Lines {
		if i == mostLines {
			view.Hidden = len(t.Lines) - mostLines
			break
		}
		line := lineView{Line: t.Lines[i], Offset: offsetWords(t.Lines[i].Time.Sub(t.Started), view.Coarse)}
		view.Silent = view.Silent && line.From == fleet.Note
		switch line.From {
		case fleet.ClientSays:
			line.Class, line.Arrow = "says-client", "client"
		case fleet.ServerSays:
			line.Class, line.Arrow = "says-server", "server"
			line.Code = replyClass(line.Text)
			if line.Code != "" && !strings.HasPrefix(line.Text, "221") { // the goodbye decides nothing
				view.Ending, view.EndingTone = line.Text, line.Code
			}
		default:
			line.Class, line.Arrow = "says-note", "note"
		}
		view.Shown = append(view.Shown, line)
	}
	return view
}

// coarse tells that no line has a stamp finer than a second.
func coarse(lines []fleet.Line) bool {
	return len(lines) > 0 && !slices.ContainsFunc(lines, func(line fleet.Line) bool { return line.Time.Nanosecond() != 0 })
}

// replyClass is "good" for 2xx and 3xx, "wait" for 4xx and "bad" for 5xx (RFC 5321 section 4.2.1). Where the log has the
// enhanced code alone, its first digit means the same.
func replyClass(reply string) string {
	if len(reply) < 3 || strings.Trim(reply[:3], "0123456789") != "" && reply[1] != '.' {
		return ""
	}
	switch reply[0] {
	case '2', '3':
		return "good"
	case '4':
		return "wait"
	case '5':
		return "bad"
	}
	return ""
}

// offsetWords is a time within a conversation, in milliseconds as long as that is readable and true.
func offsetWords(d time.Duration, coarse bool) string {
	sign := "+"
	if d < 0 {
		sign, d = "−", -d
	}
	switch {
	case d >= 10*time.Minute:
		return sign + durationWords(d)
	case coarse:
		return fmt.Sprintf("%s%d s", sign, int(d.Seconds()))
	case d < 10*time.Second:
		return fmt.Sprintf("%s%d ms", sign, d.Milliseconds())
	}
	return fmt.Sprintf("%s%.1f s", sign, d.Seconds())
}

// transcriptAnchor is a fragment for a key: keys are the node's words, so anything unusual is spelled out.
func transcriptAnchor(key string) string {
	var b strings.Builder
	b.WriteString("t-")
	for _, c := range []byte(key) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "_%02x", c)
	}
	return b.String()
}
