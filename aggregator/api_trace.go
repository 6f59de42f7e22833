package aggregator

import "net/http"

// traceParameters are those of a trace.
var traceParameters = []string{"sender", "recipient", "queue_id", "message_id", "node", "since", "until", "limit"}

func (s *Server) apiTrace(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, traceParameters...)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q, err := traceQuery(values, s.clock())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer, err := s.trace(r.Context(), q)
	s.answer(w, r, answer, err)
}
