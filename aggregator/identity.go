package aggregator

import (
	"context"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

// User is who makes a request: a signed-in person or a token.
type User struct {
	Name  string        `json:"name"`
	Role  accounts.Role `json:"role"`
	Token bool          `json:"token,omitempty"` // a program with an API token, not a person with a session
}

type contextKey int

const (
	keyUser contextKey = iota
	keyRequestID
	keyAccess
	keySession // a context that ends with the session
)

// userFrom is who makes the request that ctx belongs to; the zero User, whose role is [accounts.Nobody], when nobody is
// signed in.
func userFrom(ctx context.Context) User {
	user, _ := ctx.Value(keyUser).(User)
	return user
}

// requestID names a request in the logs, in the X-Request-Id header and on error pages.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(keyRequestID).(string)
	return id
}
