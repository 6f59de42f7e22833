package aggregator

import (
	"encoding/json"
	"net/http"
)

// apiRoutes are the JSON API.
func (s *Server) apiRoutes() []route { return nil }

// writeJSON answers with a JSON value.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the peer may be gone; nobody else to tell
}
