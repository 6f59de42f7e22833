package repository

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// recordingState is what anybody may ask about recording at any time.
type recordingState struct {
	late    atomic.Int64
	dropped atomic.Int64
	bytes   atomic.Int64
	oldest  atomic.Int64 // message id

	mu     sync.Mutex
	reason string // why recording is paused; empty while it isn't
	aside  string // what was set aside last
}

func (s *recordingState) paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason != ""
}

// set gives the reason for a pause, or ends it; it tells whether that is news.
func (s *recordingState) set(reason string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = (s.reason == "") != (reason == "")
	s.reason = reason
	return news
}

func (s *recordingState) addSetAside(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside = text
}

func (s *recordingState) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fleet.Errorf(fleet.CodeUnavailable, "recording is paused: %s", s.reason)
}

// Recording tells how recording fares. A file that was set aside is named as the reason even while all is well again.
func (r *Repository) Recording() fleet.Recording {
	s := r.state
	s.mu.Lock()
	defer s.mu.Unlock()
	now := fleet.Recording{State: "ok", Reason: s.aside, Late: s.late.Load(), Dropped: s.dropped.Load(), Bytes: s.bytes.Load()}
	if s.reason != "" {
		now.State, now.Reason = "paused", s.reason
	}
	if id := fleet.MessageID(s.oldest.Load()); id > 0 {
		now.Oldest = id.Time()
	}
	return now
}

// failed pauses recording after a failure. What memory knows may not have reached the files, so it is dropped.
func (w *writer) failed(err error) {
	w.forget()
	w.tried = time.Now()
	w.pause(err)
}

func (w *writer) pause(err error) {
	if w.r.state.set(err.Error()) {
		w.r.log.Error("repository: recording is paused", zap.Error(err))
	}
}

// ready tells whether recording can go on, and tries to get there now and then. It runs before all work.
func (w *writer) ready() bool {
	if w.recovered && !w.r.state.paused() {
		if time.Since(w.checked) < retryEvery {
			return true
		}
		w.checked = time.Now()
		if err := w.spaceLeft(0); err != nil {
			w.pause(err)
			return false
		}
		return true
	}
	if time.Since(w.tried) < retryEvery {
		return false
	}
	w.tried = time.Now()
	if err := w.goOn(); err != nil {
		if corrupt(err) && w.setAside(err) == nil {
			w.tried = time.Time{} // the next one may be sound
		}
		w.pause(err)
		return false
	}
	if w.r.state.set("") {
		w.r.log.Info("repository: recording goes on")
	}
	return true
}

// spareBytes must be free beyond the limit before recording goes on, so that it doesn't stop again at once.
const spareBytes = 4 << 20

// goOn does what shows that recording works again.
func (w *writer) goOn() error {
	spare := int64(0)
	if w.r.state.paused() {
		spare = spareBytes
	}
	if err := w.spaceLeft(spare); err != nil {
		return err
	}
	if w.recovered {
		return nil
	}
	return w.recover()
}

func (w *writer) spaceLeft(spare int64) error {
	least := w.r.opts.MinFree
	if least < 0 {
		return nil
	}
	free, err := w.r.opts.free(w.r.opts.Dir)
	if err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if free < least+spare {
		return fmt.Errorf("disk is nearly full: %d MiB free, %d MiB are needed", free>>20, (least+spare)>>20)
	}
	return nil
}

func freeBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * stat.Bsize, nil
}
