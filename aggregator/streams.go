package aggregator

import (
	"sync"

	"github.com/postfleet/postfleet/internal/fleet"
)

// maxStreams is how many event streams and exports one user, or one token, may have open at a time: more than anybody has
// pages open, few enough that one who opens them without end keeps nobody else from the page.
const maxStreams = 20

// openStreams counts them.
type openStreams struct {
	mu sync.Mutex
	of map[streamOwner]int
}

// streamOwner is a user or a token: they may have the same name.
type streamOwner struct {
	name  string
	token bool
}

// begin takes one more of the user's. end gives it back. The error is a [fleet.Error].
func (o *openStreams) begin(user User) (end func(), err error) {
	owner := streamOwner{user.Name, user.Token}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of[owner] >= maxStreams {
		return nil, fleet.Errorf(fleet.CodeTooMany, "%s has %d event streams and exports open already", user.Name, maxStreams)
	}
	if o.of == nil {
		o.of = map[streamOwner]int{}
	}
	o.of[owner]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.of[owner]--; o.of[owner] == 0 {
			delete(o.of, owner)
		}
	}, nil
}
