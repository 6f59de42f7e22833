// Package httperr is the one place where failures become HTTP: the status of each [fleet.Code], and the JSON body that
// the node API and the aggregator's API share. Only the message of a [fleet.Error] is shown; anything else is an
// internal error to the outside and goes to the caller's log.
package httperr

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Body is the JSON of an error answer.
type Body struct {
	Error fleet.Error `json:"error"`
}

var statuses = map[fleet.Code]int{
	fleet.CodeInvalid:      http.StatusBadRequest,
	fleet.CodeUnauthorized: http.StatusUnauthorized,
	fleet.CodeForbidden:    http.StatusForbidden,
	fleet.CodeNotFound:     http.StatusNotFound,
	fleet.CodeUnsupported:  http.StatusNotImplemented,
	fleet.CodeTooMany:      http.StatusTooManyRequests,
	fleet.CodeConflict:     http.StatusConflict,
	fleet.CodeUnavailable:  http.StatusServiceUnavailable,
	fleet.CodeInternal:     http.StatusInternalServerError,
}

// Status is the HTTP status for a code; an unknown code, from a newer node, is 500.
func Status(code fleet.Code) int {
	if status, ok := statuses[code]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Public is the part of err that is safe to show.
func Public(err error) fleet.Error {
	var known *fleet.Error
	if errors.As(err, &known) {
		return *known
	}
	return fleet.Error{Code: fleet.CodeInternal, Message: "internal error; the log has the cause"}
}

// WriteJSON answers with err's status and JSON body.
func WriteJSON(w http.ResponseWriter, err error) {
	public := Public(err)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(Status(public.Code))
	_ = json.NewEncoder(w).Encode(Body{Error: public}) // the peer may be gone; nobody else to tell
}

// Read turns an error answer back into the fleet.Error that caused it. A body that isn't ours becomes an error by status.
func Read(status int, body io.Reader) *fleet.Error {
	var answer Body
	if err := json.NewDecoder(io.LimitReader(body, 1<<16)).Decode(&answer); err == nil && answer.Error.Code != "" {
		return &answer.Error
	}
	for code, s := range statuses {
		if s == status {
			return fleet.Errorf(code, "answered %d %s", status, http.StatusText(status))
		}
	}
	return fleet.Errorf(fleet.CodeInternal, "answered %d %s", status, http.StatusText(status))
}
