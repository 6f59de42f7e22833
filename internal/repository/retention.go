package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// How often the parts of maintenance run.
const (
	measureEvery = 2 * time.Second // size, free space
	syncEvery    = 5 * time.Second
	idleAfter    = time.Minute // a file other than the newest that was not written to is closed
)

// maintain runs beside the writer: measures, syncs, applies retention.
func (r *Repository) maintain() {
	ctx, cancel := r.untilStop()
	defer cancel()
	measure, sync, retain := time.NewTicker(measureEvery), time.NewTicker(syncEvery), time.NewTicker(r.opts.RetainEvery)
	defer measure.Stop()
	defer sync.Stop()
	defer retain.Stop()
	r.measure()
	for {
		var err error
		select {
		case <-r.stop:
			return
		case <-measure.C:
			r.measure()
			err = r.writer.do(r.writer.tidy)
		case <-sync.C:
			err = r.sync()
		case <-retain.C:
			err = errors.Join(r.ApplyRetention(ctx), r.pseudonymise(ctx))
		}
		if err != nil && !errors.Is(err, ErrClosed) {
			r.log.Warn("repository: maintenance", zap.Error(err))
		}
	}
}

func (r *Repository) measure() {
	r.state.bytes.Store(r.messages.bytes() + r.transcripts.bytes())
	oldest := int64(0)
	for _, s := range r.messages.all() {
		if oldest = s.oldest.Load(); oldest > 0 {
			break
		}
	}
	r.state.oldest.Store(oldest)
}

// tidy closes older files that rest, and begins a new one where the newest has grown large.
func (w *writer) tidy() error {
	if !w.ready() {
		return nil
	}
	for _, c := range []*chain{w.r.transcripts, w.r.messages} {
		all := c.all()
		for i, s := range all {
			if i == len(all)-1 {
				if err := w.cut(c, s); err != nil {
					return err
				}
				continue
			}
			if s.writer == nil || s.fresh || time.Since(s.touched) < idleAfter {
				continue
			}
			if err := s.storeFilter(); err != nil {
				return blame(s, err)
			}
			if err := s.shut(); err != nil {
				return blame(s, err)
			}
		}
	}
	return nil
}

// Bounds for the size at which a file is cut within its day: retention by size drops whole files, and should not drop more
// than a tenth of what may be kept; and a smaller file is faster to write to.
const (
	leastCut = 8 << 20
	mostCut  = 1 << 30
)

// cut begins a new segment behind the newest message when the newest file is large.
func (w *writer) cut(c *chain, newest *segment) error {
	keep := w.r.keep.Load()
	limit := keep.Messages.Bytes
	if c == w.r.transcripts {
		limit = keep.Transcripts.Bytes
	}
	most := int64(mostCut)
	if limit > 0 {
		most = max(leastCut, min(mostCut, limit/10))
	}
	if next := newest.maxID + 1; next > newest.start+1 && next < newest.dayEnd() && newest.bytes() > most {
		_, err := c.add(next)
		return err
	}
	return nil
}

// ApplyRetention removes the files that are older than Retention.Age or over Retention.Bytes, oldest first. It also runs by
// itself every Options.RetainEvery. By size the newest file of each kind always stays.
func (r *Repository) ApplyRetention(ctx context.Context) error {
	keep := r.keep.Load()
	for _, part := range []struct {
		chain *chain
		keep  Retention
	}{{r.transcripts, keep.Transcripts}, {r.messages, keep.Messages}} {
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			s := r.expired(part.chain, part.keep)
			if s == nil {
				break
			}
			if err := r.writer.do(func() error { return r.writer.drop(part.chain, s) }); err != nil {
				return fmt.Errorf("apply retention: %w", err)
			}
		}
	}
	r.measure()
	return nil
}

// expired is the oldest segment, if it has to go.
func (r *Repository) expired(c *chain, keep Retention) *segment {
	all := c.all()
	if len(all) == 0 {
		return nil
	}
	end := all[0].dayEnd()
	if len(all) > 1 {
		end = min(end, all[1].start)
	}
	tooOld := keep.Age > 0 && end.Time().Before(r.opts.Now().Add(-keep.Age))
	if tooOld || len(all) > 1 && keep.Bytes > 0 && c.bytes() > keep.Bytes {
		return all[0]
	}
	return nil
}

// drop removes a segment.
func (w *writer) drop(c *chain, s *segment) error {
	if c == w.r.messages {
		if len(c.all()) == 1 { // positions need a place to go
			if _, err := c.findOrAdd(fleet.MessageIDAt(w.r.opts.Now())); err != nil {
				return err
			}
		}
		if err := w.carry(s); err != nil {
			return err
		}
		w.hot.forgetSegment(s)
	}
	c.drop(s)
	s.retire()
	_ = s.shut() // the file goes next
	if err := s.remove(); err != nil {
		return err
	}
	w.r.metrics.unlinked.WithLabelValues(c.kind.name).Inc()
	w.r.log.Info("repository: file removed by retention", zap.String("file", s.path))
	return nil
}
