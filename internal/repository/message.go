package repository

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Message gives one message. The error is a fleet.Error with CodeNotFound when there is none of that id.
func (r *Repository) Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error) {
	var m *fleet.Message
	err := r.read(ctx, func() (err error) {
		m, err = r.message(ctx, id)
		return err
	})
	if err == nil && m == nil {
		return nil, fleet.Errorf(fleet.CodeNotFound, "no message %s on this node", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read message %s: %w", id, err)
	}
	return m, nil
}

func (r *Repository) message(ctx context.Context, id fleet.MessageID) (m *fleet.Message, err error) {
	s := r.messages.find(id)
	if s == nil {
		return nil, nil
	}
	err = s.view(ctx, func(tx *sql.Tx) error {
		var doc []byte
		err := tx.QueryRowContext(ctx, "SELECT doc FROM message WHERE id = ?", int64(id)).Scan(&doc)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			m, err = decodeIn(ctx, tx, doc)
		}
		return err
	})
	return m, blame(s, err)
}

// Transcripts gives a message's conversations, the inbound one first and then the outbound ones by time. For an attempt
// whose conversation was not captured, or is no longer kept, it is reconstructed. The error is a fleet.Error with
// CodeNotFound when there is no such message.
func (r *Repository) Transcripts(ctx context.Context, id fleet.MessageID) ([]fleet.Transcript, error) {
	m, err := r.Message(ctx, id)
	if err != nil {
		return nil, err
	}
	var stored []fleet.Transcript
	err = r.read(ctx, func() (err error) {
		stored, err = r.storedTranscripts(ctx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read transcripts of message %s: %w", id, err)
	}
	return complete(m, stored), nil
}

func (r *Repository) storedTranscripts(ctx context.Context, id fleet.MessageID) (stored []fleet.Transcript, err error) {
	s := r.transcripts.find(id)
	if s == nil {
		return nil, nil
	}
	err = s.view(ctx, func(tx *sql.Tx) error {
		stored = nil
		rows, err := tx.QueryContext(ctx, "SELECT body FROM transcript WHERE message = ?", int64(id))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var body sql.RawBytes
			if err := rows.Scan(&body); err != nil {
				return err
			}
			t, err := decodeTranscript(body)
			if err != nil {
				return err
			}
			stored = append(stored, *t)
		}
		return rows.Err()
	})
	return stored, blame(s, err)
}

// complete adds reconstructed conversations for attempts without a stored one, and puts all in order.
func complete(m *fleet.Message, all []fleet.Transcript) []fleet.Transcript {
	have := map[string]bool{}
	for i := range all {
		have[all[i].Key] = true
	}
	for i := range m.Recipients {
		recipient := &m.Recipients[i]
		for j := range recipient.Attempts {
			a := &recipient.Attempts[j]
			if a.Transcript != "" && have[a.Transcript] {
				continue
			}
			if t := fleet.Reconstruct(m, recipient, a); t != nil {
				all = append(all, *t)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b fleet.Transcript) int {
		if a.Direction != b.Direction {
			return cmp.Compare(a.Direction, b.Direction) // inbound comes before outbound
		}
		return a.Started.Compare(b.Started)
	})
	if all == nil {
		all = []fleet.Transcript{}
	}
	return all
}
