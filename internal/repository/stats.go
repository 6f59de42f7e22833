package repository

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Stats gives the figures of a range of time. Whole hours come from stored sums where there are any, the ragged ends and
// hours that still change from the messages' own rows, so the counts are exact whatever the range and the steps. The error is a fleet.Error with
// CodeInvalid for a range that can't be asked for.
func (r *Repository) Stats(ctx context.Context, q fleet.StatsQuery) (*fleet.Stats, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	var c *counting
	err := r.read(ctx, func() error {
		c = newCounting(&q)
		for _, s := range r.messages.within(c.low, c.high) {
			if err := r.countSegment(ctx, s, c); err != nil {
				return blame(s, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count messages: %w", err)
	}
	return c.stats(&q), nil
}

// counting is an answer in the making.
type counting struct {
	low, high fleet.MessageID
	width     float64 // of a step, in µs
	steps     []fleet.Step
	sum       *tally
}

func newCounting(q *fleet.StatsQuery) *counting {
	c := &counting{low: fleet.MessageIDAt(q.Since), high: fleet.MessageIDAt(q.Until), steps: make([]fleet.Step, q.Steps), sum: newTally()}
	c.width = float64(c.high-c.low) / float64(q.Steps)
	for i := range c.steps {
		c.steps[i].Start = c.start(i).Time()
	}
	return c
}

// start is the first id of a step.
func (c *counting) start(step int) fleet.MessageID {
	return c.low + fleet.MessageID(float64(step)*c.width)
}

// step is the step that an id falls into.
func (c *counting) step(id fleet.MessageID) int {
	i := min(int(float64(id-c.low)/c.width), len(c.steps)-1)
	for i > 0 && id < c.start(i) { // rounding
		i--
	}
	for i+1 < len(c.steps) && id >= c.start(i+1) {
		i++
	}
	return i
}

func (c *counting) addStep(id fleet.MessageID, from *fleet.Step) {
	to := &c.steps[c.step(id)]
	to.Messages += from.Messages
	to.Delivered += from.Delivered
	to.Waiting += from.Waiting
	to.Bounced += from.Bounced
	to.Rejected += from.Rejected
	to.Other += from.Other
}

func (c *counting) stats(q *fleet.StatsQuery) *fleet.Stats {
	s := &fleet.Stats{Since: q.Since, Until: q.Until, Steps: c.steps, Total: c.sum.total, Delay: c.sum.delay,
		Encrypted: c.sum.encrypted, Clear: c.sum.clear, Destinations: []fleet.Destination{}, Refusals: []fleet.Refusal{}}
	s.Total.Start = q.Since
	for _, d := range c.sum.destinations {
		s.Destinations = append(s.Destinations, *d)
	}
	for _, r := range c.sum.refusals {
		s.Refusals = append(s.Refusals, *r)
	}
	slices.SortFunc(s.Destinations, func(a, b fleet.Destination) int {
		return cmp.Or(cmp.Compare(b.Delivered+b.Waiting+b.Bounced, a.Delivered+a.Waiting+a.Bounced), cmp.Compare(a.Domain, b.Domain))
	})
	slices.SortFunc(s.Refusals, func(a, b fleet.Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	s.Destinations = s.Destinations[:min(len(s.Destinations), fleet.TopEntries)]
	s.Refusals = s.Refusals[:min(len(s.Refusals), fleet.TopEntries)]
	return s
}

const (
	hourIDs   = fleet.MessageID(time.Hour / time.Microsecond)
	minuteIDs = fleet.MessageID(time.Minute / time.Microsecond)
)

// countSegment adds a segment's part.
func (r *Repository) countSegment(ctx context.Context, s *segment, c *counting) error {
	low, high := max(c.low, s.start/hourIDs*hourIDs), min(c.high, s.dayEnd())
	if low >= high {
		return nil
	}
	first, last := int64((low+hourIDs-1)/hourIDs), int64(high/hourIDs) // whole hours: from first to below last
	changes := map[int64]int{}
	for hour := first; hour < last; hour++ {
		changes[hour] = s.hourChanges(hour)
	}
	var made []hourSum
	err := s.view(ctx, func(tx *sql.Tx) error {
		v := &counter{ctx: ctx, tx: tx, counting: c, fresh: map[int64]bool{}, freshHours: map[int64]bool{}}
		if err := v.countFresh(low, high); err != nil {
			return err
		}
		if first >= last {
			return v.countRows(low, high, c.sum, c.addStep)
		}
		if err := v.countRows(low, fleet.MessageID(first)*hourIDs, c.sum, c.addStep); err != nil {
			return err
		}
		for hour := first; hour < last; hour++ {
			sum, err := v.countHour(hour)
			if err != nil {
				return err
			}
			if sum != nil {
				made = append(made, hourSum{hour: hour, changes: changes[hour], body: sum})
			}
		}
		return v.countRows(fleet.MessageID(last)*hourIDs, high, c.sum, c.addStep)
	})
	if err == nil && len(made) > 0 {
		r.keepHours(s, made)
	}
	return err
}

// hourSum is a sum worth keeping, unless its hour has changed meanwhile.
type hourSum struct {
	hour    int64
	changes int
	body    []byte
}

// keepHours stores sums. It is left out when the writer is busy: they are made again next time.
func (r *Repository) keepHours(s *segment, made []hourSum) {
	store := func() {
		if s.isRetired() || !r.writer.recovered {
			return
		}
		w, err := s.open()
		if err == nil {
			err = w.transact(func() error {
				for _, sum := range made {
					if s.hourChanges(sum.hour) != sum.changes {
						continue
					}
					if err := w.exec("INSERT OR REPLACE INTO hour (hour, body) VALUES (?, ?)", sum.hour, sum.body); err != nil {
						return err
					}
				}
				return nil
			})
		}
		r.writer.note(blame(s, err), "keep figures")
	}
	select {
	case r.writer.calls <- store:
	case <-time.After(10 * time.Millisecond):
	case <-r.stop:
	}
}
