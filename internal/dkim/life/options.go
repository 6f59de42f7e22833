package life

import (
	"cmp"
	"fmt"
	"time"

	"github.com/postfleet/postfleet/internal/dkim"
)

// When a key needs its record to be seen.
const (
	RequireNew    = "new"    // before it begins to sign
	RequireAlways = "always" // and for as long as it signs
	RequireNever  = "never"
)

// Options say how the keys of a node live.
type Options struct {
	Dir     string // of the state, and of the keys that rotations make
	Node    string
	Next    string // selector template of keys that rotations make, see dkim.ParseNextTemplate
	Require string // RequireNew, RequireAlways or RequireNever; empty: RequireNew

	KeepOld time.Duration // how long the record of a key that no longer signs has to stay
	Every   time.Duration // age at which a key is replaced; 0: never by itself
	Kinds   []string      // of the keys that a rotation makes; empty: as those in use, RSA and Ed25519 for the first
	Bits    int           // of RSA keys; 0: dkim.MinBits

	// Adopt: where there is no state yet, the keys that the node would have signed with before it kept one go on signing. For
	// hosts that come from such a version.
	Adopt bool

	Now func() time.Time // nil: time.Now
}

func (o *Options) fill() (dkim.NextTemplate, error) {
	o.Require = cmp.Or(o.Require, RequireNew)
	o.Bits = cmp.Or(o.Bits, dkim.MinBits)
	if o.Now == nil {
		o.Now = time.Now
	}
	switch o.Require {
	case RequireNew, RequireAlways, RequireNever:
	default:
		return dkim.NextTemplate{}, fmt.Errorf("require DNS %q: expected new, always or never", o.Require)
	}
	return dkim.ParseNextTemplate(o.Next, o.Node)
}
