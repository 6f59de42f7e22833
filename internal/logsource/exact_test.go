package logsource

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A log is written and rotated in every way while its follower is stopped at random moments, sometimes between reading a
// batch and storing it: each line is stored once, in order.
func TestFileExactlyOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &logWriter{t: t, path: logPath(t), random: rand.New(rand.NewPCG(seed, 1))}
			w.write(20)
			f := newFollower(t, nil)
			random := rand.New(rand.NewPCG(seed, 2))
			for round := range 40 {
				f.source = &lossy{quickFile(w.path), random.IntN(4)}
				f.start()
				for range random.IntN(5) {
					w.write(1 + w.random.IntN(30))
				}
				if round%2 == 0 { // up to date before the log is rotated again: logrotate keeps one copy here
					until(t, func() bool { return len(f.seen()) >= w.count || f.ran() })
				}
				f.halt()
				f.source = quickFile(w.path)
				f.start()
				until(t, func() bool { return len(f.seen()) >= w.count })
				if w.random.IntN(2) == 0 {
					f.halt() // rotated while nobody follows
				}
				w.rotate()
				w.write(1 + w.random.IntN(10))
				f.halt()
			}
			f.source = quickFile(w.path)
			f.start()
			until(t, func() bool { return len(f.seen()) >= w.count })
			f.stop()
			_, want := numbered(1, w.count)
			if diff := cmp.Diff(want, f.seen()); diff != "" {
				t.Errorf("lines (-written +stored):\n%s", diff)
			}
		})
	}
}

// halt stops a follower whose source may have failed.
func (f *follower) halt() {
	if f.cancel == nil {
		return
	}
	f.cancel()
	f.cancel = nil
	if err := <-f.ended; err != nil && !errors.Is(err, errKilled) {
		f.t.Errorf("run: %v", err)
	}
}

// ran tells whether the source has returned.
func (f *follower) ran() bool { return len(f.ended) > 0 }

var errKilled = errors.New("killed before the batch was stored")

// lossy is a source whose process dies with the batch that follows the first few.
type lossy struct {
	Source
	batches int
}

func (l *lossy) Run(ctx context.Context, from string, emit func(Batch) error) error {
	var count atomic.Int64
	return l.Source.Run(ctx, from, func(b Batch) error {
		if count.Add(1) > int64(l.batches) {
			return errKilled
		}
		return emit(b)
	})
}

// logWriter writes numbered lines and rotates as logrotate does.
type logWriter struct {
	t      *testing.T
	path   string
	random *rand.Rand
	count  int
}

func (w *logWriter) write(n int) {
	if n > 0 {
		text, _ := numbered(w.count+1, w.count+n)
		write(w.t, w.path, text)
		w.count += n
	}
}

func (w *logWriter) rotate() {
	switch w.random.IntN(3) {
	case 0:
		rename(w.t, w.path, w.path+".1")
		write(w.t, w.path, "")
	case 1:
		rename(w.t, w.path, w.path+".1")
	case 2:
		content, err := os.ReadFile(w.path)
		if err == nil {
			err = os.WriteFile(w.path+".1", content, 0o600)
		}
		if err == nil {
			err = os.Truncate(w.path, 0)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Fatal(err)
		}
	}
}
