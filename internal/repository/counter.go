package repository

import (
	"context"
	"database/sql"
	"errors"

	"github.com/postfleet/postfleet/internal/fleet"
)

// counter counts the messages of one segment in one read transaction.
type counter struct {
	ctx      context.Context
	tx       *sql.Tx
	counting *counting

	fresh      map[int64]bool // messages whose rows are not up to date
	freshHours map[int64]bool
}

// countFresh counts the messages that are not indexed yet from their documents.
func (v *counter) countFresh(low, high fleet.MessageID) error {
	rows, err := v.tx.QueryContext(v.ctx, freshQuery, int64(low), int64(high))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var doc sql.RawBytes
		if err := rows.Scan(&id, &doc); err != nil {
			return err
		}
		m, err := decodeIn(v.ctx, v.tx, doc)
		if err != nil {
			return err
		}
		if v.fresh[id], v.freshHours[hourOf(m.ID)] = true, true; m.IsHop() {
			continue
		}
		one := tallyOf(m)
		if err := v.counting.sum.add(one.encode()); err != nil {
			return err
		}
		v.counting.addStep(m.ID, &one.total)
	}
	return rows.Err()
}

// countRows adds the figures of the messages from low to below high to a sum, and tells of each one's own counts.
func (v *counter) countRows(low, high fleet.MessageID, sum *tally, each func(id fleet.MessageID, one *fleet.Step)) error {
	if low >= high {
		return nil
	}
	rows, err := v.tx.QueryContext(v.ctx, "SELECT id, body FROM fact WHERE id >= ? AND id < ?", int64(low), int64(high))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var body sql.RawBytes
		if err := rows.Scan(&id, &body); err != nil {
			return err
		}
		if v.fresh[id] {
			continue
		}
		if sum != nil {
			if err := sum.add(body); err != nil {
				return err
			}
		}
		var one fleet.Step
		(&tallyReader{b: body}).step(&one)
		each(fleet.MessageID(id), &one)
	}
	return rows.Err()
}

// countHour adds a whole hour. It returns the sum when it had to be made and can be kept.
func (v *counter) countHour(hour int64) (made []byte, err error) {
	var body []byte
	if !v.freshHours[hour] {
		err := v.tx.QueryRowContext(v.ctx, "SELECT body FROM hour WHERE hour = ?", hour).Scan(&body)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
	}
	if body == nil {
		sum := newTally()
		low := fleet.MessageID(hour) * hourIDs
		err := v.countRows(low, low+hourIDs, sum, func(id fleet.MessageID, one *fleet.Step) {
			to := sum.minute(minuteOf(id))
			(&tallyReader{b: appendStep(nil, one)}).step(to)
		})
		if err != nil {
			return nil, err
		}
		body = sum.encode()
		if !v.freshHours[hour] && sum.total.Messages > 0 {
			made = body
		}
	}
	return made, v.addHour(hour, body)
}

// addHour adds an hour's sum, each minute to its step. A minute that a step begins in the midst of is counted again.
func (v *counter) addHour(hour int64, body []byte) error {
	v.counting.sum.minutes = nil
	if err := v.counting.sum.add(body); err != nil {
		return err
	}
	for at, step := range v.counting.sum.minutes {
		low := fleet.MessageID(hour)*hourIDs + fleet.MessageID(at)*minuteIDs
		if v.counting.step(low) == v.counting.step(low+minuteIDs-1) {
			v.counting.addStep(low, step)
			continue
		}
		if err := v.countRows(low, low+minuteIDs, nil, v.counting.addStep); err != nil {
			return err
		}
	}
	return nil
}
