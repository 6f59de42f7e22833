package aggregator

import (
	"sync"

	"github.com/postfleet/postfleet/internal/fleet"
)

// maxRequests is how many other requests one user, or one token, may have running at a time: each may ask every node.
const maxRequests = 100

// maxStreams is how many event streams and exports one user, or one token, may have open at a time: more than anybody has
// pages open, few enough that one who opens them without end keeps nobody else from the page.
const maxStreams = 20

// inUse counts what is open or running for each user and each token.
type inUse struct {
	most  int    // for one of them
	words string // that say what there are too many of

	mu sync.Mutex
	of map[owner]int
}

// owner is a user or a token: they may have the same name.
type owner struct {
	name  string
	token bool
}

// begin takes one more of the user's. end gives it back. The error is a [fleet.Error].
func (o *inUse) begin(user User) (end func(), err error) {
	who := owner{user.Name, user.Token}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of[who] >= o.most {
		return nil, fleet.Errorf(fleet.CodeTooMany, "%s has %d %s already", user.Name, o.most, o.words)
	}
	if o.of == nil {
		o.of = map[owner]int{}
	}
	o.of[who]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.of[who]--; o.of[who] == 0 {
			delete(o.of, who)
		}
	}, nil
}
