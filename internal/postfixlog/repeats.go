package postfixlog

import (
	"encoding/binary"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// maxRepeats bounds the status lines of one second that are told apart.
const maxRepeats = 8192

// repeats tells equal status lines of one second apart, by counting them. Stamps with a fraction of a second need no
// such help.
type repeats struct {
	second time.Time
	seen   map[fleet.EventID]uint32
}

func (r *repeats) distinguish(at time.Time, id fleet.EventID) fleet.EventID {
	if at.Nanosecond() != 0 {
		return id
	}
	if !at.Equal(r.second) || r.seen == nil {
		r.second = at
		r.seen = map[fleet.EventID]uint32{}
	}
	count := r.seen[id]
	if count > 0 || len(r.seen) < maxRepeats {
		r.seen[id] = count + 1
	}
	if count == 0 {
		return id
	}
	var which [12]byte
	binary.BigEndian.PutUint64(which[:], uint64(id))
	binary.BigEndian.PutUint32(which[8:], count)
	return fleet.NewEventID(which[:])
}
