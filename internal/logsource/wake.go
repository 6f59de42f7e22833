package logsource

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// waker waits for a file to change. While the log is busy, looking often is cheaper than hearing of every write, so the
// file is watched only once it has been quiet for a while, and its directory only while it isn't there; where neither can
// be watched, looking has to do.
type waker struct {
	base    string
	watcher *fsnotify.Watcher // nil when there is no way to watch
	watched string            // empty when nothing is
	changed chan struct{}
	done    chan struct{}
}

func newWaker(path string, log *zap.Logger) *waker {
	w := &waker{base: filepath.Base(path), changed: make(chan struct{}, 1), done: make(chan struct{})}
	var err error
	if w.watcher, err = fsnotify.NewWatcher(); err != nil {
		log.Info("log is polled, since it can't be watched", zap.Error(err))
		w.watcher = nil
		close(w.done)
		return w
	}
	go w.listen()
	return w
}

func (w *waker) listen() {
	defer close(w.done)
	for {
		select {
		case event, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if filepath.Base(event.Name) == w.base {
				w.signal()
			}
		case _, ok := <-w.watcher.Errors: // events got lost: look
			if !ok {
				return
			}
			w.signal()
		}
	}
}

func (w *waker) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// arm begins to watch a file or a directory. It tells whether it only just did, so that the caller looks once more before
// it waits.
func (w *waker) arm(path string) bool {
	if w.watcher == nil || w.watched == path {
		return false
	}
	w.disarm()
	if w.watcher.Add(path) != nil {
		return false
	}
	w.watched = path
	return true
}

func (w *waker) disarm() {
	if w.watched != "" {
		_ = w.watcher.Remove(w.watched) // fails when the file is gone, and then there is nothing to remove
		w.watched = ""
	}
}

// wait returns when the file changed, as far as it is watched, or after d; false when ctx ended.
func (w *waker) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-w.changed:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

func (w *waker) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // never fails on Linux, and there is nothing to save
	}
	<-w.done
}
