package life

import (
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Observation is what a resolver said of one key's record, or what came of putting it into DNS.
type Observation struct {
	Name   string // of the record
	Text   string // the record that was compared with; an observation of another key that had the name doesn't count
	Record fleet.KeyRecord
	Words  string // what was seen; why there is no answer, for RecordUnknown

	Published bool   // the node put the record there, or found it there when it tried
	UpdateErr string // why it could not
}

// Observe notes observations. RecordUnknown leaves the last finding as it is, and so changes no state.
func (l *Life) Observe(seen []Observation) error {
	if len(seen) == 0 {
		return nil
	}
	return l.change(func(s *state, now time.Time) error {
		for i := range seen {
			for j := range s.Keys {
				if e := &s.Keys[j]; e.Name == seen[i].Name && e.Text == seen[i].Text {
					observe(s, e, &seen[i], now)
				}
			}
		}
		return nil
	})
}

func observe(s *state, e *entry, seen *Observation, now time.Time) {
	if seen.Published || seen.UpdateErr != "" {
		if seen.Published && !e.Published {
			s.tell(now, &e.Key, "", "its record was put into DNS")
		}
		if seen.UpdateErr != "" && seen.UpdateErr != e.UpdateErr {
			s.tell(now, &e.Key, "", "its record could not be put into DNS: "+seen.UpdateErr)
		}
		e.Published, e.UpdateErr = e.Published || seen.Published, seen.UpdateErr
	}
	switch {
	case seen.Record == "":
		return
	case seen.Record == fleet.RecordUnknown:
		e.Found.Failure = seen.Words
		return
	case seen.Record != e.Found.Record:
		e.Found.Since = now
		if words := changeWords(e, seen); words != "" {
			s.tell(now, &e.Key, "", words)
		}
	}
	e.Found.Record, e.Found.Text, e.Found.At, e.Found.Failure = seen.Record, seen.Words, now, ""
}

// changeWords tells what another finding means for the key.
func changeWords(e *entry, seen *Observation) string {
	switch {
	case seen.Record == fleet.RecordMatches:
		return "its record is in DNS"
	case e.Stage == fleet.StageRetired && seen.Record == fleet.RecordAbsent:
		return "its record has left DNS"
	case seen.Record == fleet.RecordDiffers:
		return "DNS has another record at its name: " + seen.Words
	case e.Found.Record == fleet.RecordMatches || e.Stage == fleet.StageActive:
		return "its record is no longer in DNS: " + seen.Words
	}
	return ""
}

// Withdrawn notes that the node took the record of a retired key out of DNS.
func (l *Life) Withdrawn(name string) error {
	return l.change(func(s *state, now time.Time) error {
		for i := range s.Keys {
			if e := &s.Keys[i]; e.Name == name && e.Published {
				e.Published, e.UpdateErr = false, ""
				s.tell(now, &e.Key, "", "its record was taken out of DNS")
			}
		}
		return nil
	})
}

// Due are the domains whose keys have come to the age at which they are replaced and that have no next key yet.
func (l *Life) Due() (domains []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.o.Every == 0 {
		return nil
	}
	now := l.o.Now()
	for _, domain := range domainsOf(l.state) {
		if len(waitingBases(l.state, domain)) > 0 {
			continue
		}
		var oldest time.Time
		for i := range l.state.Keys {
			e := &l.state.Keys[i]
			if e.Domain == domain && e.Stage == fleet.StageActive && (oldest.IsZero() || e.Activated.Before(oldest)) {
				oldest = e.Activated
			}
		}
		if !oldest.IsZero() && now.Sub(oldest) >= l.o.Every {
			domains = append(domains, domain)
		}
	}
	return domains
}

// OwnWaits tells whether a key that a rotation made still waits.
func (l *Life) OwnWaits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.state.Keys {
		if e := &l.state.Keys[i]; e.Own && e.Stage == fleet.StageWaiting {
			return true
		}
	}
	return false
}
