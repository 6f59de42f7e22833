package aggregator

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"

	"github.com/postfleet/postfleet/internal/fleet"
)

//go:embed openapi.json
var description []byte

// apiDescription is the OpenAPI 3.1 description of the JSON API.
func (s *Server) apiDescription(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(description) // the peer may be gone; nobody else to tell
}

// AuditAnswer are the newest entries of the audit log, newest first.
type AuditAnswer struct {
	Entries []Entry `json:"entries"`
}

// How much of the audit log is shown.
const (
	defaultEntries = 100
	maxEntries     = 1000
	maxAuditRead   = 4 << 20 // bytes from its end
)

func (s *Server) apiAudit(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, "limit")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	limit := defaultEntries
	if text := values.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxEntries {
			s.fail(w, r, fleet.Invalid("limit", "%q is not a number from 1 to %d", clip(text, 40), maxEntries))
			return
		}
	}
	entries, err := s.auditLog.newest(limit)
	s.answer(w, r, AuditAnswer{Entries: entries}, err)
}

// newest reads the last entries of the current file, newest first; of a long file only its end.
func (a *auditLog) newest(limit int) ([]Entry, error) {
	entries := []Entry{}
	if a.path == "" {
		return entries, nil
	}
	file, err := os.Open(a.path)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	from := max(0, info.Size()-maxAuditRead)
	text, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
	if err != nil {
		return nil, fmt.Errorf("read audit log %s: %w", a.path, err)
	}
	lines := bytes.Split(text, []byte("\n"))
	for _, line := range slices.Backward(lines) {
		var e Entry
		if len(entries) < limit && json.Unmarshal(line, &e) == nil { // a first line that was cut isn't JSON
			entries = append(entries, e)
		}
	}
	return entries, nil
}
