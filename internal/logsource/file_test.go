package logsource

import (
	"compress/gzip"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFileFollows(t *testing.T) {
	t.Parallel()
	path := logPath(t)
	write(t, path, "one\ntwo\r\n")
	f := newFollower(t, quickFile(path))
	f.start()
	f.waitFor("one", "two")
	write(t, path, "thr")
	write(t, path, "ee\n\nfour\n")
	f.waitFor("one", "two", "three", "", "four")
	if state := f.source.State(); state.Lines != 5 || state.Error != "" || state.Source != path {
		t.Errorf("state: %+v", state)
	}
}

// A log that was quiet is watched; the first line then is there at once.
func TestFileLatency(t *testing.T) {
	t.Parallel()
	path := logPath(t)
	write(t, path, "first\n")
	source := NewFile(FileOptions{Path: path})
	source.pace.quiet, source.pace.idle = 0, time.Minute // at once into the watch; a look would take a minute
	f := newFollower(t, source)
	f.start()
	f.waitFor("first")
	began := time.Now()
	write(t, path, "second\n")
	f.waitFor("first", "second")
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("a line took %v", took)
	}
}

func TestFileNotThereYet(t *testing.T) {
	t.Parallel()
	path := logPath(t)
	f := newFollower(t, quickFile(path))
	f.start()
	until(t, func() bool { return strings.Contains(f.source.State().Error, "no such file") })
	write(t, path, "one\n")
	f.waitFor("one")
	if state := f.source.State(); state.Error != "" {
		t.Errorf("state: %+v", state)
	}
}

func TestFileUnreadable(t *testing.T) {
	t.Parallel()
	path := logPath(t)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	f := newFollower(t, quickFile(path))
	f.start()
	until(t, func() bool { return strings.Contains(f.source.State().Error, "not a regular file") })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, "one\n")
	f.waitFor("one")
}

func TestFileRotation(t *testing.T) {
	t.Parallel()
	firstText, first := numbered(1, 40)
	first = slices.Clip(first)
	lateText, late := numbered(41, 42)
	nextText, next := numbered(43, 60)
	all := append(append(append([]string(nil), first...), late...), next...)
	tests := map[string]func(t *testing.T, path string, f *follower){
		"renamed, and written to until its writer notices": func(t *testing.T, path string, _ *follower) {
			rename(t, path, path+".1")
			write(t, path, "")
			write(t, path+".1", lateText)
			write(t, path, nextText)
		},
		"renamed, with no file in its place for a while": func(t *testing.T, path string, f *follower) {
			rename(t, path, path+"-20261123")
			write(t, path+"-20261123", lateText)
			f.waitFor(append(first, late...)...)
			write(t, path, nextText)
		},
		"renamed with a last line that has no end": func(t *testing.T, path string, _ *follower) {
			write(t, path, strings.TrimSuffix(lateText, "\n"))
			rename(t, path, path+".1")
			write(t, path, nextText)
		},
		"copied and truncated": func(t *testing.T, path string, _ *follower) {
			write(t, path, lateText)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path+".1", string(content))
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			write(t, path, nextText)
		},
		"removed": func(t *testing.T, path string, f *follower) {
			write(t, path, lateText)
			f.waitFor(append(first, late...)...)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, nextText)
		},
	}
	for name, rotate := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := logPath(t)
			write(t, path, firstText)
			f := newFollower(t, quickFile(path))
			f.start()
			f.waitFor(first...)
			rotate(t, path, f)
			f.waitFor(all...)
		})
	}
}

// The same while nobody follows: what was not read yet is found again under its new name.
func TestFileRotatedWhileAway(t *testing.T) {
	t.Parallel()
	firstText, first := numbered(1, 40)
	lateText, late := numbered(41, 50)
	middleText, middle := numbered(51, 55)
	nextText, next := numbered(56, 60)
	zip := func(t *testing.T, path string) {
		t.Helper()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(path + ".gz")
		if err != nil {
			t.Fatal(err)
		}
		w := gzip.NewWriter(out)
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Close(), out.Close(), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path+".gz", old, old); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		rotate func(t *testing.T, path string)
		want   [][]string
	}{
		"renamed": {func(t *testing.T, path string) {
			write(t, path, lateText)
			rename(t, path, path+".1")
			write(t, path, nextText)
		}, [][]string{first, late, next}},
		"renamed, and nothing new yet": {func(t *testing.T, path string) {
			write(t, path, lateText)
			rename(t, path, path+".1")
			write(t, path, "")
		}, [][]string{first, late}},
		"renamed twice": {func(t *testing.T, path string) {
			write(t, path, lateText)
			rename(t, path, path+".2")
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path+".2", old, old); err != nil {
				t.Fatal(err)
			}
			write(t, path+".1", middleText)
			write(t, path, nextText)
		}, [][]string{first, late, middle, next}},
		"compressed": {func(t *testing.T, path string) {
			write(t, path, lateText)
			rename(t, path, path+".2")
			zip(t, path+".2")
			write(t, path+".1", middleText)
			write(t, path, nextText)
		}, [][]string{first, late, middle, next}},
		"copied and truncated": {func(t *testing.T, path string) {
			write(t, path+".1", firstText+lateText)
			if err := os.WriteFile(path, []byte(nextText), 0o600); err != nil {
				t.Fatal(err)
			}
		}, [][]string{first, late, next}},
		"gone": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, nextText)
		}, [][]string{first, next}},
		"truncated, and grown beyond the old place": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(nextText+lateText+firstText), 0o600); err != nil {
				t.Fatal(err)
			}
		}, [][]string{first, next, late, first}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := logPath(t)
			write(t, path, firstText)
			f := newFollower(t, quickFile(path))
			f.start()
			f.waitFor(first...)
			f.stop()
			test.rotate(t, path)
			f.start()
			var want []string
			for _, lines := range test.want {
				want = append(want, lines...)
			}
			f.waitFor(want...)
		})
	}
}

func TestFileLongLine(t *testing.T) {
	t.Parallel()
	path := logPath(t)
	write(t, path, "before\n"+strings.Repeat("m", 3<<20)+"\nafter\n"+strings.Repeat("n", MaxLine+1)+"\nend\n")
	f := newFollower(t, quickFile(path))
	f.start()
	f.waitFor("before", strings.Repeat("m", MaxLine), "after", strings.Repeat("n", MaxLine), "end")
	f.stop()
	write(t, path, "more\n")
	f.start()
	f.waitFor("before", strings.Repeat("m", MaxLine), "after", strings.Repeat("n", MaxLine), "end", "more")
}

// What the taker refuses comes again.
func TestFileEmitFails(t *testing.T) {
	t.Parallel()
	path := logPath(t)
	write(t, path, "one\n")
	full := errors.New("disk full")
	source := quickFile(path)
	err := source.Run(context.Background(), "", func(Batch) error { return full })
	if !errors.Is(err, full) {
		t.Fatalf("run: %v", err)
	}
	f := newFollower(t, source)
	f.start()
	f.waitFor("one")
}

// The cursor of the other source says only that the lines before were read elsewhere.
func TestFileForeignCursor(t *testing.T) {
	t.Parallel()
	path := logPath(t)
	write(t, path, "old\n")
	f := newFollower(t, quickFile(path))
	f.cursor = "s=0639;i=4d2;b=1;m=2;t=3;x=4"
	f.start()
	until(t, func() bool { // what is written before the file is open is passed over too
		write(t, path, "new\n")
		return len(f.seen()) > 0
	})
	f.stop()
	if seen := f.seen(); slices.Contains(seen, "old") {
		t.Errorf("lines: %q", seen)
	}
	before := len(f.seen())
	write(t, path, "last\n")
	f.start()
	until(t, func() bool { seen := f.seen(); return len(seen) > before && seen[len(seen)-1] == "last" })
}
