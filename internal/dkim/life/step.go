package life

import (
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Peers is what is known of the other nodes' keys.
type Peers struct {
	Known  bool          // they could be asked, or there is nobody to ask
	Why    string        // why not
	Claims []fleet.Claim // of all nodes; this node's own are passed over
}

// forgetAfter is how long the entry of a retired key stays after its record has gone.
const forgetAfter = 30 * 24 * time.Hour

// Step moves the keys on as far as they may go now: waiting ones sign, those that they replace retire. changed tells whether
// other keys sign than before.
func (l *Life) Step(peers Peers) (changed bool, err error) {
	before := l.signing()
	err = l.change(func(s *state, now time.Time) error {
		l.stepAll(s, peers, now)
		return nil
	})
	return err == nil && !slices.Equal(before, l.signing()), err
}

func (l *Life) signing() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.state.Keys {
		if l.state.Keys[i].Signs {
			names = append(names, l.state.Keys[i].Name+" "+l.state.Keys[i].Fingerprint)
		}
	}
	return names
}

func (l *Life) stepAll(s *state, peers Peers, now time.Time) {
	for i := range s.Keys {
		noteConflict(s, &s.Keys[i], peers, now)
	}
	for _, domain := range domainsOf(s) {
		for _, base := range waitingBases(s, domain) {
			l.advance(s, domain, base, peers, now)
		}
	}
	for i := range s.Keys {
		e := &s.Keys[i]
		if e.Stage == fleet.StageRetiring && !now.Before(e.Removable) {
			e.Stage = fleet.StageRetired
			s.tell(now, &e.Key, "", "its time is over: the record "+e.Name+" may be removed")
		}
	}
	s.Keys = slices.DeleteFunc(s.Keys, func(e entry) bool {
		return e.Own && e.Stage == fleet.StageRetired && e.Found.Record == fleet.RecordAbsent && now.Sub(e.Found.Since) > forgetAfter
	})
}

// noteConflict sets, or takes back, the alarm that names another node with this selector or key.
func noteConflict(s *state, e *entry, peers Peers, now time.Time) {
	if !peers.Known && e.Conflict != "" {
		return // nobody says that it is over
	}
	was, mine := e.Conflict, e.Claim()
	e.Conflict = ""
	if e.Stage != fleet.StageRetired {
		for i := range peers.Claims {
			if clash := mine.Clash(&peers.Claims[i]); clash != "" {
				e.Conflict = clash
				break
			}
		}
	}
	if e.Conflict != "" && e.Conflict != was {
		s.tell(now, &e.Key, "", e.Conflict)
	}
}

// comesSecond tells whether another node's claim on the same selector or key goes before.
func comesSecond(e *entry, peers Peers) bool {
	mine := e.Claim()
	return slices.ContainsFunc(peers.Claims, func(other fleet.Claim) bool {
		return mine.Clash(&other) != "" && other.Before(&mine)
	})
}

func domainsOf(s *state) (domains []string) {
	for i := range s.Keys {
		if !slices.Contains(domains, s.Keys[i].Domain) {
			domains = append(domains, s.Keys[i].Domain)
		}
	}
	return domains
}

// waitingBases are the generations of a domain with a key that waits, the oldest first.
func waitingBases(s *state, domain string) (bases []string) {
	for i := range s.Keys {
		if e := &s.Keys[i]; e.Domain == domain && e.Stage == fleet.StageWaiting && !slices.Contains(bases, e.Base) {
			bases = append(bases, e.Base)
		}
	}
	return bases
}

// advance lets a generation sign. All of its keys must be ready to take over from another generation; the first keys of a
// domain, and those that join a generation that signs, begin one by one.
func (l *Life) advance(s *state, domain, base string, peers Peers, now time.Time) {
	replaces, whole := false, true
	var ready []*entry
	for i := range s.Keys {
		e := &s.Keys[i]
		switch {
		case e.Domain != domain:
		case e.Stage == fleet.StageActive && e.Base != base:
			replaces = true
		case e.Stage == fleet.StageWaiting && e.Base == base:
			if e.Waits = l.waitsFor(e, peers, now); e.Waits == "" {
				ready = append(ready, e)
			} else {
				whole = false
			}
		}
	}
	if len(ready) == 0 || replaces && !whole {
		for _, e := range ready {
			e.Waits = "the other key of its generation"
		}
		return
	}
	if replaces && outdated(s, domain, ready[0]) {
		for _, e := range ready {
			e.Stage, e.Replaced, e.Removable = fleet.StageRetired, now, now
			s.tell(now, &e.Key, "", "not used: a newer key signs")
		}
		return
	}
	l.switchTo(s, domain, base, ready, now)
}

// outdated tells whether a generation with a first day comes after a later one took over.
func outdated(s *state, domain string, of *entry) bool {
	return of.From != "" && slices.ContainsFunc(s.Keys, func(e entry) bool {
		return e.Domain == domain && e.Stage == fleet.StageActive && e.From > of.From
	})
}

func (l *Life) switchTo(s *state, domain, base string, begin []*entry, now time.Time) {
	for _, e := range begin {
		e.Stage, e.Activated, e.Waits = fleet.StageActive, now, ""
		why := "signs: its record was seen"
		switch {
		case e.Forced != "":
			why = "signs without its record being seen, forced by " + e.Forced
		case e.Found.Record != fleet.RecordMatches:
			why = "signs: no record is asked for"
		}
		s.tell(now, &e.Key, "", why)
	}
	for i := range s.Keys {
		if e := &s.Keys[i]; e.Domain == domain && e.Base != base && e.Stage == fleet.StageActive {
			l.retire(s, e, "", now)
		}
	}
}

// retire ends a key's signing. Its record has to stay for mail under way.
func (l *Life) retire(s *state, e *entry, by string, now time.Time) {
	e.Stage, e.Replaced, e.Removable, e.Forced, e.Waits = fleet.StageRetiring, now, now.Add(l.o.KeepOld), "", ""
	s.tell(now, &e.Key, by, "signs no more; its record must stay until "+e.Removable.Format(time.RFC3339))
}

// waitsFor says what keeps a key from signing; empty: nothing.
func (l *Life) waitsFor(e *entry, peers Peers, now time.Time) string {
	switch {
	case e.From > today(now):
		return "its first day, " + e.From
	case comesSecond(e, peers):
		return "another selector: " + e.Conflict
	case l.o.Require == RequireNever:
		return ""
	case !peers.Known:
		return "an answer whether another node uses its selector: " + peers.Why
	case e.Forced != "", e.Found.Record == fleet.RecordMatches:
		return ""
	case e.Found.Record == fleet.RecordDiffers:
		return "its record " + e.Name + ", at which DNS has something else: " + e.Found.Text
	}
	return "its record " + e.Name
}
