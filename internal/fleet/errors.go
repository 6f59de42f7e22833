package fleet

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an [Error] is. One place maps codes to HTTP: httperr.
type Code string

// The codes.
const (
	CodeInvalid      Code = "invalid"       // the request is wrong; Field says where
	CodeNotFound     Code = "not_found"     // no such message, transcript, node
	CodeUnauthorized Code = "unauthorized"  // who are you
	CodeForbidden    Code = "forbidden"     // not with this role or identity
	CodeUnavailable  Code = "unavailable"   // a node is away, or recording is paused
	CodeUnsupported  Code = "not_supported" // the node's version can't do this
	CodeTooMany      Code = "too_many"      // of something that the asker may have so many of at a time
	CodeConflict     Code = "conflict"      // with what somebody else did, or with how things are: look, and ask again
	CodeInternal     Code = "internal"
)

// Error is a failure whose message is safe to show to whoever asked. The inside of it goes to the log only.
type Error struct {
	Code    Code   `json:"code"`
	Field   string `json:"field,omitempty"` // of the query, for CodeInvalid
	Message string `json:"message"`
}

func (e *Error) Error() string {
	if e.Field != "" {
		return e.Field + ": " + e.Message
	}
	return e.Message
}

// Invalid is an error about one field of a request.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Errorf is an error of a code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf finds the code in an error chain; an error without one is internal, nil has none.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return CodeInternal
}
