package aggregator

import (
	"net/http"

	"github.com/postfleet/postfleet/internal/fleet"
)

// readForm fills r.PostForm from a form of so many bytes at the most. It answers the request itself, and false, where that
// can't be done.
func (s *Server) readForm(w http.ResponseWriter, r *http.Request, most int64) bool {
	r.Body = http.MaxBytesReader(w, r.Body, most)
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, fleet.Errorf(fleet.CodeInvalid, "the form can't be read"))
		return false
	}
	return true
}
