package life

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Rotate makes the next key of a domain; it waits for its record. A rotation that was cut off is finished: a domain has one
// next generation at most, and asking again makes no other. Errors that are the caller's are [fleet.Error].
func (l *Life) Rotate(domain, by string) error {
	domain = strings.ToLower(domain)
	var made []string
	err := l.change(func(s *state, now time.Time) error {
		if !slices.Contains(domainsOf(s), domain) {
			return fleet.Errorf(fleet.CodeNotFound, "no key for %.255q on node %s", domain, l.o.Node)
		}
		kinds := l.kindsFor(s, domain)
		base, missing := waitingOwn(s, domain, kinds)
		if base == "" {
			if at := waitingBases(s, domain); len(at) > 0 {
				return fleet.Errorf(fleet.CodeInvalid, "%s has a key that waits already: %s; activate or retire it first", domain, at[0])
			}
			var err error
			if base, err = l.next.Selector(now, func(selector string) bool { return l.taken(s, domain, selector) }); err != nil {
				return fleet.Errorf(fleet.CodeInvalid, "%v", err)
			}
			missing = kinds
		}
		if len(missing) == 0 {
			return fleet.Errorf(fleet.CodeInvalid, "the next key of %s waits already: %s", domain, base)
		}
		for _, kind := range missing {
			path := filepath.Join(l.o.Dir, domain, base+"."+kind+".pem")
			made = append(made, path)
			if err := l.make(s, path, domain, base, kind, by, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.unmake(made)
	}
	return err
}

// unmake takes keys back that no state names: else each further try would make others under other names, and all would wait.
func (l *Life) unmake(paths []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, key := range l.keys {
		if slices.Contains(paths, key.Path) {
			delete(l.keys, name)
		}
	}
	for _, path := range paths {
		_ = os.Remove(path) // one that stays is taken for half a rotation's, and waits
	}
}

// RotatableDomains are the domains with a key in use and none that waits.
func (l *Life) RotatableDomains() (domains []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, domain := range domainsOf(l.state) {
		used := slices.ContainsFunc(l.state.Keys, func(e entry) bool { return e.Domain == domain && e.Stage == fleet.StageActive })
		if used && len(waitingBases(l.state, domain)) == 0 {
			domains = append(domains, domain)
		}
	}
	return domains
}

// kindsFor are the types of a domain's next keys.
func (l *Life) kindsFor(s *state, domain string) (kinds []string) {
	if len(l.o.Kinds) > 0 {
		return l.o.Kinds
	}
	for _, kind := range []string{dkim.RSA, dkim.Ed25519} {
		if slices.ContainsFunc(s.Keys, func(e entry) bool {
			return e.Domain == domain && e.Stage == fleet.StageActive && strings.HasPrefix(e.Algorithm, kind)
		}) {
			kinds = append(kinds, kind)
		}
	}
	if kinds == nil {
		kinds = []string{dkim.RSA, dkim.Ed25519}
	}
	return kinds
}

// waitingOwn is the generation that a rotation began, and which types it lacks.
func waitingOwn(s *state, domain string, kinds []string) (base string, missing []string) {
	missing = slices.Clone(kinds)
	for i := range s.Keys {
		e := &s.Keys[i]
		if e.Domain != domain || !e.Own || e.Stage != fleet.StageWaiting || base != "" && e.Base != base {
			continue
		}
		base = e.Base
		missing = slices.DeleteFunc(missing, func(kind string) bool { return strings.HasPrefix(e.Algorithm, kind) })
	}
	return base, missing
}

// taken tells whether a selector was used before: a record with the old key may still be in caches.
func (l *Life) taken(s *state, domain, base string) bool {
	used := slices.ContainsFunc(s.Keys, func(e entry) bool { return e.Domain == domain && e.Base == base }) ||
		slices.ContainsFunc(s.History, func(h fleet.KeyEvent) bool {
			return h.Domain == domain && (h.Selector == base || h.Selector == base+"-"+dkim.Ed25519)
		})
	if used {
		return true
	}
	found, err := filepath.Glob(filepath.Join(l.o.Dir, domain, base+".*.pem"))
	return err != nil || len(found) > 0
}

// make writes a private key, which is on disk before the state names it.
func (l *Life) make(s *state, path, domain, base, kind, by string, now time.Time) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // half of one, left by a kill
		return err
	}
	key, err := dkim.Generate(l.o.Dir, domain, base, kind, l.o.Bits)
	if err != nil {
		return err
	}
	if err := ownAs(l.o.Dir, filepath.Dir(path), path); err != nil {
		return err
	}
	l.keys[key.RecordName()] = key
	l.note(s, key, "", true, now)
	s.History[len(s.History)-1].By = by
	return syncDir(filepath.Dir(path))
}

// Activate lets a waiting key sign with its generation, or one that is retiring sign again. force does without the record.
func (l *Life) Activate(domain, selector string, force bool, by string) error {
	return l.change(func(s *state, now time.Time) error {
		e := s.find(strings.ToLower(domain), strings.ToLower(selector))
		switch {
		case e == nil:
			return fleet.Errorf(fleet.CodeNotFound, "no key %.255q for %.255q on node %s", selector, domain, l.o.Node)
		case e.Stage == fleet.StageActive:
			return fleet.Errorf(fleet.CodeInvalid, "%s signs already", e.Name)
		case e.Stage == fleet.StageRetired:
			return fleet.Errorf(fleet.CodeInvalid, "%s is retired; make a new key", e.Name)
		case e.Stage == fleet.StageWaiting && e.Conflict != "":
			return fleet.Errorf(fleet.CodeInvalid, "%s", e.Conflict)
		case e.From > today(now):
			return fleet.Errorf(fleet.CodeInvalid, "the first day of %s is %s", e.Name, e.From)
		}
		var begin []*entry
		for i := range s.Keys {
			other := &s.Keys[i]
			if other.Domain != e.Domain || other.Base != e.Base || other.Stage != e.Stage {
				continue
			}
			if seen := other.Found.Record == fleet.RecordMatches; !seen && !force && l.o.Require != RequireNever {
				return fleet.Errorf(fleet.CodeInvalid, "the record %s was not seen: %s; force it to sign all the same", other.Name,
					foundWords(&other.Found))
			} else if !seen && force {
				other.Forced = by
			}
			s.tell(now, &other.Key, by, "activated by hand")
			begin = append(begin, other)
		}
		for _, other := range begin {
			other.Replaced, other.Removable = time.Time{}, time.Time{}
		}
		l.switchTo(s, e.Domain, e.Base, begin, now)
		return nil
	})
}

func foundWords(f *fleet.RecordFinding) string {
	switch {
	case f.Failure != "":
		return f.Failure
	case f.Text != "":
		return f.Text
	}
	return "it was not looked up yet"
}

// Retire ends a key's signing, or calls off one that waits. The last key that signs for a domain stays unless forced: without
// it the domain's mail would be refused, or leave unsigned.
func (l *Life) Retire(domain, selector string, force bool, by string) error {
	return l.change(func(s *state, now time.Time) error {
		e := s.find(strings.ToLower(domain), strings.ToLower(selector))
		switch {
		case e == nil:
			return fleet.Errorf(fleet.CodeNotFound, "no key %.255q for %.255q on node %s", selector, domain, l.o.Node)
		case e.Stage == fleet.StageWaiting:
			e.Stage, e.Replaced, e.Removable, e.Waits, e.Forced = fleet.StageRetired, now, now, "", ""
			s.tell(now, &e.Key, by, "called off before it signed")
			return nil
		case e.Stage != fleet.StageActive:
			return fleet.Errorf(fleet.CodeInvalid, "%s signs no more already", e.Name)
		}
		last := !slices.ContainsFunc(s.Keys, func(other entry) bool {
			return other.Domain == e.Domain && other.Stage == fleet.StageActive && other.Selector != e.Selector
		})
		if last && !force {
			return fleet.Errorf(fleet.CodeInvalid, "%s is the last key that signs for %s; force it to stop signing all the same", e.Name, e.Domain)
		}
		l.retire(s, e, by, now)
		return nil
	})
}
