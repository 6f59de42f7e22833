package aggregator

import "net/http"

// note is what came of a form, for the page that its answer leads to. It is kept in the session and not in the address,
// where a link could say anything in our name.
type note struct {
	key   string
	lines []string
}

// leaveNote keeps lines for the next page, in the place of what was left before, and gives the key by which it has them.
func (s *Server) leaveNote(r *http.Request, lines []string) (key string) {
	key = requestID(r.Context())
	if one := s.sessions.peek(s.sessions.tokenOf(r)); one != nil {
		one.note.Store(&note{key, lines})
	}
	return key
}

// noteLeft are the lines that were left under a key; none when others were left since, or the session is another.
func (s *Server) noteLeft(r *http.Request, key string) []string {
	one := s.sessions.peek(s.sessions.tokenOf(r))
	if one == nil {
		return nil
	}
	if left := one.note.Load(); left != nil && left.key == key {
		return left.lines
	}
	return nil
}
