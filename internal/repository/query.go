package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Messages answers one page of a query, newest first. The error is a fleet.Error with CodeInvalid for a query that can't
// be asked. The indexes narrow the messages down and fleet.Query.Match decides, so the answer is Match's by construction.
func (r *Repository) Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if q.Limit == 0 {
		q.Limit = fleet.DefaultLimit
	}
	page := &fleet.Page{Messages: []fleet.Message{}}
	if q.Node != "" && q.Node != r.opts.Node {
		return page, nil
	}
	err := r.read(ctx, func() error {
		page.Messages = page.Messages[:0]
		for _, s := range r.messages.within(bounds(&q)) {
			if err := searchSegment(ctx, s, r.translated(s, &q), page); err != nil {
				return blame(s, err)
			}
			if len(page.Messages) > q.Limit {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("query messages: %w", err)
	}
	if len(page.Messages) > q.Limit { // one more than asked for says that there is a next page
		page.Messages = page.Messages[:q.Limit]
		page.Next = page.Messages[q.Limit-1].ID
	}
	return page, nil
}

// bounds are the smallest id that a query can have in its answer, and the first beyond the largest.
func bounds(q *fleet.Query) (low, high fleet.MessageID) {
	high = math.MaxInt64
	if !q.Since.IsZero() {
		low = fleet.MessageIDAt(q.Since)
	}
	if !q.Until.IsZero() {
		high = fleet.MessageIDAt(q.Until)
	}
	if q.Before > 0 {
		high = min(high, q.Before)
	}
	return low, high
}

// read runs f as one of the reads that run at once. Files that turn out damaged are set aside, and f begins anew.
func (r *Repository) read(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.stopping() {
		return ErrClosed
	}
	select {
	case r.readers <- struct{}{}:
		defer func() { <-r.readers }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := f()
	if corrupt(err) {
		if err := r.writer.do(func() error { return r.writer.setAsideNow(err) }); err != nil {
			return err
		}
		err = f()
	}
	return err
}

// view runs f in a read transaction on a segment; what the writer commits meanwhile doesn't show. A segment that retention
// has just dropped has nothing to show.
func (s *segment) view(ctx context.Context, f func(tx *sql.Tx) error) error {
	db, err := s.acquire()
	if errors.Is(err, errRetired) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.release()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil && s.isRetired() {
		return nil
	}
	if err != nil {
		return err
	}
	defer tx.Rollback() // there is nothing to commit
	return f(tx)
}

// searchSegment adds a segment's part of the answer to the page, until it holds one message more than asked for.
func searchSegment(ctx context.Context, s *segment, q *fleet.Query, page *fleet.Page) error {
	return s.view(ctx, func(tx *sql.Tx) error {
		p, err := newPlan(ctx, tx, q)
		if err != nil {
			return err
		}
		found, err := openSearch(ctx, tx, p)
		if err != nil {
			return err
		}
		defer found.close()
		for len(page.Messages) <= q.Limit {
			doc, err := found.next()
			if doc == nil || err != nil {
				return err
			}
			m, err := decodeIn(ctx, tx, doc)
			if err != nil {
				return err
			}
			if q.Match(m) {
				page.Messages = append(page.Messages, *m)
			}
		}
		return nil
	})
}

func decodeIn(ctx context.Context, tx *sql.Tx, doc []byte) (*fleet.Message, error) {
	return decodeMessage(doc, func(id fleet.MessageID, number int) (body []byte, err error) {
		err = tx.QueryRowContext(ctx, "SELECT body FROM chunk WHERE message = ? AND number = ?", int64(id), number).Scan(&body)
		return body, err
	})
}

// search walks over the messages of a plan, and those that are not indexed yet, in the order of falling ids.
type search struct {
	sources []*source
}

type source struct {
	rows *sql.Rows
	id   int64
	doc  sql.RawBytes
	done bool
}

func openSearch(ctx context.Context, tx *sql.Tx, p *plan) (*search, error) {
	var s search
	for _, part := range p.parts() {
		rows, err := tx.QueryContext(ctx, part.query, part.args...) //nolint:rowserrcheck // source.advance asks
		if err != nil {
			s.close()
			return nil, err
		}
		s.sources = append(s.sources, &source{rows: rows})
	}
	for _, src := range s.sources {
		if err := src.advance(); err != nil {
			s.close()
			return nil, err
		}
	}
	return &s, nil
}

func (s *source) advance() error {
	if !s.rows.Next() {
		s.done = true
		return s.rows.Err()
	}
	return s.rows.Scan(&s.id, &s.doc)
}

// next gives the next document, nil at the end. A message that both sources have comes once.
func (s *search) next() ([]byte, error) {
	var best *source
	for _, src := range s.sources {
		if !src.done && (best == nil || src.id > best.id) {
			best = src
		}
	}
	if best == nil {
		return nil, nil
	}
	id, doc := best.id, append([]byte(nil), best.doc...)
	for _, src := range s.sources {
		for !src.done && src.id == id {
			if err := src.advance(); err != nil {
				return nil, err
			}
		}
	}
	return doc, nil
}

func (s *search) close() {
	for _, src := range s.sources {
		_ = src.rows.Close() // errors of reading came through Next
	}
}
