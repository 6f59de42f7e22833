package repository

import (
	"context"
	"database/sql"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// plan says through which index the messages of a query are found in a segment.
type plan struct {
	through   way
	low, high int64
	key       int64 // for throughLookup, with queueID
	queueID   string
	words     string // for throughTerms
	waiting   bool   // for throughTerms: only those that wait
	counted   bool   // only those that have figures: no hops
}

type way int

const (
	throughTime    way = iota // by id, which is time
	throughLookup             // by queue id
	throughWaiting            // those in the queue
	throughTerms              // by the full-text index
)

// fewWaiting is up to how many messages in the queue are looked at one by one, whatever else is asked for.
const fewWaiting = 2000

// newPlan chooses the narrowest index.
func newPlan(ctx context.Context, tx *sql.Tx, q *fleet.Query) (*plan, error) {
	low, high := bounds(q)
	p := &plan{low: int64(low), high: int64(high), waiting: q.View == fleet.ViewQueue || q.Status.InQueue()}
	if q.QueueID != "" {
		p.through, p.key, p.queueID = throughLookup, int64(queueKey(q.QueueID)), q.QueueID
		return p, nil
	}
	p.counted = q.Hops == ""
	tokens := queryTokens(q)
	if p.waiting {
		var few bool
		err := tx.QueryRowContext(ctx, "SELECT count(*) < ?1 FROM (SELECT 1 FROM waiting LIMIT ?1)", fewWaiting).Scan(&few)
		if err != nil {
			return nil, err
		}
		if few || len(tokens) == 0 {
			p.through = throughWaiting
			return p, nil
		}
	}
	if len(tokens) > 0 {
		p.through = throughTerms
		p.words = strings.Join(strings.Fields(string(words(tokens))), " AND ")
	}
	return p, nil
}

type statement struct {
	query string
	args  []any
}

// onlyCounted joins the table that has a row for each message but hops, which a node may have by the hundred thousand.
func (p *plan) onlyCounted(id string) string {
	if p.counted {
		return "CROSS JOIN fact c ON c.id = " + id
	}
	return ""
}

const freshQuery = `SELECT f.id, m.doc FROM fresh f CROSS JOIN message m ON m.id = f.id
	WHERE f.id >= ? AND f.id < ? ORDER BY f.id DESC`

// freshNamed spares decoding the others: nodes ask each other for queue ids many times a second. A text that JSON writes in
// another way than itself is no queue id, and is found once it is indexed.
const freshNamed = `SELECT f.id, m.doc FROM fresh f CROSS JOIN message m ON m.id = f.id
	WHERE f.id >= ? AND f.id < ? AND instr(m.doc, ?) > 0 ORDER BY f.id DESC`

// parts are the statements that together find all messages of the plan. Those that are not indexed yet are few, and are
// looked at one by one.
func (p *plan) parts() []statement {
	fresh := statement{freshQuery, []any{p.low, p.high}}
	switch p.through {
	case throughLookup:
		return []statement{{`SELECT l.id, m.doc FROM lookup l CROSS JOIN message m ON m.id = l.id
			WHERE l.key = ? AND l.id >= ? AND l.id < ? ORDER BY l.id DESC`, []any{p.key, p.low, p.high}},
			{freshNamed, []any{p.low, p.high, p.queueID}}}
	case throughWaiting:
		return []statement{{`SELECT w.id, m.doc FROM waiting w ` + p.onlyCounted("w.id") + ` CROSS JOIN message m ON m.id = w.id
			WHERE w.id >= ? AND w.id < ? ORDER BY w.id DESC`, []any{p.low, p.high}}, fresh}
	case throughTerms:
		onlyWaiting := ""
		if p.waiting {
			onlyWaiting = "CROSS JOIN waiting w ON w.id = t.rowid "
		}
		return []statement{{`SELECT t.rowid, m.doc FROM term t ` + onlyWaiting + p.onlyCounted("t.rowid") + ` CROSS JOIN message m ON m.id = t.rowid
			WHERE t.term MATCH ? AND t.rowid >= ? AND t.rowid < ? ORDER BY t.rowid DESC`, []any{p.words, p.low, p.high}}, fresh}
	}
	if p.counted {
		return []statement{{`SELECT c.id, m.doc FROM fact c CROSS JOIN message m ON m.id = c.id
			WHERE c.id >= ? AND c.id < ? ORDER BY c.id DESC`, []any{p.low, p.high}}, fresh}
	}
	return []statement{{`SELECT id, doc FROM message WHERE id >= ? AND id < ? ORDER BY id DESC`, []any{p.low, p.high}}}
}
