package repository

import (
	"go.uber.org/zap"
)

// commit takes in what waits and answers those who handed it over. A damaged file is set aside, and then it is tried once
// more; any other failure pauses recording.
func (w *writer) commit(urgent []*request) {
	b, err := w.take(urgent)
	if err == nil {
		err = w.save(b)
	}
	if err != nil && corrupt(err) && w.setAside(err) == nil {
		w.forget()
		if err = w.recover(); err == nil {
			if b, err = w.take(urgent); err == nil {
				err = w.save(b)
			}
		}
	}
	if err != nil {
		w.r.log.Warn("repository: commit", zap.Error(err))
		w.failed(err)
		w.refuse(urgent)
		return
	}
	w.answer(urgent, b)
	w.hot.evict()
}

// answer tells the callers, and those who listen.
func (w *writer) answer(urgent []*request, b *batch) {
	w.r.metrics.events.Add(float64(b.events))
	for _, req := range urgent {
		if req.abandoned.Load() {
			w.r.state.late.Add(int64(len(req.events)))
		}
		req.done <- nil
	}
	for _, p := range b.progress {
		p.req.applied = p.upTo
		if p.upTo == len(p.req.events) || p.req.abandoned.Load() {
			p.req.done <- nil
			w.held = w.held[1:]
		}
	}
}

// refuse answers that nothing is recorded.
func (w *writer) refuse(urgent []*request) {
	for _, req := range urgent {
		w.r.state.dropped.Add(int64(len(req.events)))
		req.done <- w.r.state.err()
	}
}
