package aggregator

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// tracePage asks for a mail, and says what became of it.
type tracePage struct {
	Form   filterForm
	Answer *TraceAnswer // nil: nothing was asked yet
	Mark   mark
	Mails  []tracedView
	Near   []nearView
	JSON   string
}

// tracedView is one mail on the page.
type tracedView struct {
	*messagePage
	Mark   mark
	Words  string
	Advice []TracedAdvice
}

// nearView is a near miss as a row.
type nearView struct {
	row
	Why string
}

var nearWords = map[string]string{"sender": "the same sender, another recipient", "recipient": "the same recipient, another sender",
	"time": "sender and recipient as asked, at another time"}

func traceFields() []field {
	return []field{
		{Name: "sender", Label: "Sender", Hint: "user@domain, @domain, part, <>"},
		{Name: "recipient", Label: "Recipient", Hint: "user@domain, @domain or part"},
		{Name: "since", Label: "Since", Hint: "24h"},
		{Name: "until", Label: "Until", Hint: "now"},
		{Name: "id", Label: "Or a queue id or Message-ID", Hint: "exactly"},
	}
}

func (s *Server) pageTrace(w http.ResponseWriter, r *http.Request) {
	if shorter, changed := canonical(r); changed {
		http.Redirect(w, r, shorter, http.StatusSeeOther)
		return
	}
	values := r.URL.Query()
	view := &tracePage{Form: filterForm{Fields: traceFields()}}
	for i := range view.Form.Fields {
		view.Form.Fields[i].Value = strings.TrimSpace(values.Get(view.Form.Fields[i].Name))
	}
	if len(values) == 0 {
		s.render(w, r, http.StatusOK, "trace", "Trace delivery", view)
		return
	}
	status := http.StatusOK
	if err := s.fillTrace(r, view, values); err != nil {
		var wrong *fleet.Error
		if !errors.As(err, &wrong) || wrong.Code != fleet.CodeInvalid {
			s.fail(w, r, err)
			return
		}
		if wrong.Field == "queue_id" || wrong.Field == "message_id" {
			wrong = fleet.Invalid("id", "%s", wrong.Message)
		}
		view.Form.fail(wrong)
		status = http.StatusBadRequest
	}
	s.render(w, r, status, "trace", "Trace delivery", view)
}

// idValues puts an id where it belongs: an @ makes it a Message-ID.
func idValues(values url.Values) url.Values {
	values = maps.Clone(values)
	id := strings.TrimSpace(values.Get("id"))
	values.Del("id")
	switch {
	case id == "":
	case strings.Contains(id, "@"):
		values.Set("message_id", id)
	default:
		values.Set("queue_id", id)
	}
	return values
}

func (s *Server) fillTrace(r *http.Request, view *tracePage, values url.Values) error {
	values = idValues(values)
	q, err := traceQuery(values, s.clock())
	if err != nil {
		return err
	}
	answer, err := s.trace(r.Context(), q)
	if err != nil {
		return err
	}
	view.Answer, view.Mark, view.JSON = answer, verdictMark(answer.Verdict), withQuery(apiPrefix+"/trace", values)
	for i := range answer.Mails {
		one := &answer.Mails[i]
		asked := askedOf(&q, &one.Message)
		mail := tracedView{messagePage: newMessagePage(&asked, Answer{Node: asked.Node}, mostNamed), Mark: verdictMark(one.Verdict),
			Words: one.Words, Advice: one.Advice}
		mail.Journey = one.Journey
		view.Mails = append(view.Mails, mail)
	}
	for i := range answer.Near {
		view.Near = append(view.Near, nearView{newRow(&answer.Near[i].Message), nearWords[answer.Near[i].Why]})
	}
	return nil
}
