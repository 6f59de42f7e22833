package life

import (
	"fmt"
	"path/filepath"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Read is the keys of a node as [Open] would take them up now. Nothing is made and nothing written.
func Read(o Options, admin *dkim.Keyring) (*fleet.NodeKeys, error) {
	next, err := o.fill()
	if err != nil {
		return nil, err
	}
	l := &Life{o: o, next: next, admin: admin, keys: map[string]*dkim.Key{}}
	if l.state, err = readState(filepath.Join(o.Dir, stateFile)); err != nil {
		return nil, err
	}
	if err := l.takeIn(l.state, admin, o.Now().UTC().Round(0)); err != nil {
		return nil, fmt.Errorf("read the keys of %s: %w", o.Dir, err)
	}
	l.mark(l.state)
	return l.Keys(), nil
}
