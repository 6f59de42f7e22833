package logsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// FileOptions say which file is followed.
type FileOptions struct {
	Path string
	Log  *zap.Logger      // nil: nothing is logged
	Now  func() time.Time // nil: time.Now
}

// File follows a log file through rename and copytruncate rotation, truncation, and times when it isn't there or can't be
// read.
type File struct {
	options FileOptions
	status  *status
	pace    pace
	retry   backoff // for a file that can't be read
}

// pace is how often a file is looked at.
type pace struct {
	busy  time.Duration // between looks while lines come
	quiet time.Duration // without a line until the file is watched instead
	idle  time.Duration // between looks then, in case the watch misses something
	poll  time.Duration // the same where files can't be watched
	grace time.Duration // for the writer of a renamed file to turn to the new one
}

// NewFile makes a source of a file; nothing is opened yet.
func NewFile(o FileOptions) *File {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &File{options: o, status: newStatus(o.Path, o.Log), pace: pace{busy: 20 * time.Millisecond, quiet: time.Second,
		idle: 2 * time.Second, poll: 100 * time.Millisecond, grace: 5 * time.Second},
		retry: backoff{first: 250 * time.Millisecond, last: 15 * time.Second}}
}

var _ Source = (*File)(nil)

// State tells how far the source is.
func (f *File) State() fleet.LogState { return f.status.get() }

// Run follows the file; see [Source]. A cursor that isn't a file's (the node followed the journal before) means the file's
// end, because the lines before it were read elsewhere.
func (f *File) Run(ctx context.Context, from string, emit func(Batch) error) error {
	r := &fileRun{File: f, emit: emit, waker: newWaker(f.options.Path, f.options.Log)}
	defer r.close()
	if from != "" {
		at, err := parsePosition(from)
		r.at, r.known, r.atEnd = at, err == nil, err != nil
		if err != nil {
			f.options.Log.Warn("log is followed from its end", zap.Error(err))
		}
	}
	for ctx.Err() == nil {
		err := r.step(ctx)
		var refused emitError
		switch {
		case errors.As(err, &refused):
			return refused.error
		case err != nil && ctx.Err() == nil:
			r.status.fail(err)
			if r.current != nil {
				r.leave()
			}
			r.waker.arm(filepath.Dir(r.options.Path))
			r.waker.wait(ctx, r.retry.wait())
		}
	}
	return nil
}

// fileRun is one run of a File.
type fileRun struct {
	*File
	emit  func(Batch) error
	waker *waker
	at    position // behind the last line handed on
	known bool     // at means something
	whole bool     // at is the end of a file that is complete
	atEnd bool     // begin at the end of the file

	current *logFile
	last    time.Time // when the last lines came
	rotated time.Time // when the path was first seen to be another file; zero while it isn't
}

func (r *fileRun) close() {
	if r.current != nil {
		r.current.close()
	}
	r.waker.close()
}

// step opens the log, reads lines, or waits for some.
func (r *fileRun) step(ctx context.Context) error {
	if r.current == nil {
		return r.open(ctx)
	}
	if r.current.truncated() {
		r.options.Log.Info("log was truncated", zap.String("source", r.options.Path))
		r.leave()
		return nil
	}
	lines, err := r.current.next()
	switch {
	case errors.Is(err, io.EOF):
		return r.atEOF(ctx)
	case err != nil:
		return fmt.Errorf("read %s: %w", r.current.name, err)
	}
	r.last = time.Now()
	r.waker.disarm()
	if err := r.hand(r.current, lines); err != nil {
		return err
	}
	if !r.current.lines.full {
		r.waker.wait(ctx, r.pace.busy) // for a few lines to gather
	}
	return nil
}

// hand gives lines on; their position counts once that succeeded.
func (r *fileRun) hand(from *logFile, lines [][]byte) error {
	if len(lines) == 0 {
		return nil
	}
	at := from.position()
	if err := r.emit(Batch{Lines: lines, Cursor: at.String(), Read: r.options.Now()}); err != nil {
		return emitError{err}
	}
	r.at, r.known, r.whole = at, true, false
	r.status.read(len(lines))
	r.status.ok(from.behind())
	return nil
}

// atEOF looks whether the file is still the log, and waits for more.
func (r *fileRun) atEOF(ctx context.Context) error {
	// A file that was renamed, with none in its place yet, is still written to.
	if info, err := os.Stat(r.options.Path); err == nil && !os.SameFile(info, r.current.info) {
		return r.outlast(ctx)
	}
	r.rotated = time.Time{}
	r.status.ok(0)
	r.rest(ctx)
	return nil
}

// outlast stays with a file whose place another has taken until its writer has had time to notice.
func (r *fileRun) outlast(ctx context.Context) error {
	if r.rotated.IsZero() {
		r.rotated = time.Now()
	}
	if time.Since(r.rotated) > r.pace.grace && time.Since(r.last) > r.pace.grace {
		return r.finish()
	}
	r.waker.wait(ctx, r.pace.busy)
	return nil
}

// rest waits for lines.
func (r *fileRun) rest(ctx context.Context) {
	switch {
	case time.Since(r.last) < r.pace.quiet:
		r.waker.wait(ctx, r.pace.busy)
	case r.waker.arm(r.options.Path):
		// What was written before the watch began makes no sound: look once more.
	case r.waker.watched != "":
		r.waker.wait(ctx, r.pace.idle)
	default:
		r.waker.wait(ctx, r.pace.poll)
	}
}

// finish hands on what is left of a file that was renamed, a last line without a line end included.
func (r *fileRun) finish() error {
	if err := r.hand(r.current, r.current.lines.last()); err != nil {
		return err
	}
	r.leave()
	r.whole = true
	return nil
}

func (r *fileRun) leave() {
	r.waker.disarm()
	r.current.close()
	r.current, r.rotated = nil, time.Time{}
}

// open finds the place to go on from: in the log itself, or in what rotation made of it, which is read first.
func (r *fileRun) open(ctx context.Context) error {
	log, err := openLog(r.options.Path)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if err := r.place(log); err != nil {
		log.close()
		return fmt.Errorf("find the place in %s: %w", log.name, err)
	}
	if log.lines == nil {
		log.close()
		return r.catchUp(ctx)
	}
	r.current, r.last = log, time.Now()
	r.retry.reset()
	r.status.ok(log.behind())
	return nil
}

// place makes the log ready to read from the position on. It doesn't when the position is in another file.
func (r *fileRun) place(log *logFile) error {
	var start position
	switch {
	case r.known && !r.at.sameInode(log.info):
		return nil
	case r.known:
		start = r.at
	case r.atEnd:
		start.Offset, r.atEnd = log.info.Size(), false
	}
	_, err := log.seek(start)
	return err
}

// catchUp reads the rest of the file that the position is in, under the name that rotation gave it or in the copy that
// rotation made, and then the generations between it and the log, which then is read from its beginning.
func (r *fileRun) catchUp(ctx context.Context) error {
	names := generations(r.options.Path)
	found := slices.IndexFunc(names, func(name string) bool { return r.isIn(name) })
	if found < 0 {
		if !r.whole { // otherwise rotation kept no copy, and none is needed
			r.options.Log.Warn("the place in the log is gone: lines may be missing", zap.String("source", r.options.Path))
		}
		r.known = false
		return nil
	}
	for i, name := range names[found:] {
		at := position{}
		if i == 0 {
			at = r.at
		}
		if err := r.drain(ctx, name, at); err != nil {
			return err
		}
	}
	r.known = false
	return nil
}

func (r *fileRun) isIn(name string) bool {
	log, err := openLog(name)
	if err != nil {
		return false
	}
	defer log.close()
	if r.at.Head == 0 {
		return r.at.sameInode(log.info)
	}
	ok, err := log.seek(r.at)
	return ok && err == nil
}

// drain hands on everything from the position to the end of a file that isn't written any more.
func (r *fileRun) drain(ctx context.Context, name string, at position) error {
	log, err := openLog(name)
	if err != nil {
		return err // perhaps compressed since it was listed: look again
	}
	defer log.close()
	if ok, err := log.seek(at); err != nil || !ok {
		return err
	}
	for ctx.Err() == nil {
		lines, err := log.next()
		if errors.Is(err, io.EOF) {
			return r.hand(log, log.lines.last())
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := r.hand(log, lines); err != nil {
			return err
		}
	}
	return ctx.Err()
}
