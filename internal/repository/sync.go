package repository

import (
	"errors"
	"io/fs"
	"os"
)

// Commits don't wait for the disk: a process that is killed loses nothing, since the kernel has the pages, but a power cut
// may keep the newest file's last commit and lose an older commit to another file. So every few seconds everything is
// synced in the background, and each position is stored with the last one before it of which all is known to be safe.

// sync brings all commits so far to the disk, and remembers the positions of that moment as safe.
func (r *Repository) sync() error {
	w := r.writer
	var paths []string
	safe := map[string]Position{}
	err := w.do(func() error {
		paths = w.unsynced()
		for source, p := range w.positions {
			safe[source] = p.Position
		}
		return nil
	})
	if err != nil || len(paths) == 0 {
		return err
	}
	if err := syncFiles(r.opts.Dir, paths); err != nil {
		return err
	}
	return w.do(func() error {
		w.markSafe(safe)
		return nil
	})
}

func (w *writer) markSafe(safe map[string]Position) {
	for source, at := range safe {
		if p := w.positions[source]; p != nil {
			p.synced = &at
		}
	}
}

// unsynced lists the write-ahead logs that have grown since the last call.
func (w *writer) unsynced() (paths []string) {
	for _, c := range []*chain{w.r.transcripts, w.r.messages} {
		for _, s := range c.all() {
			if s.synced != s.changes {
				s.synced = s.changes
				paths = append(paths, s.path+"-wal")
			}
		}
	}
	return paths
}

// syncFiles syncs write-ahead logs. What has moved on into the database file SQLite has synced itself; that file is not
// opened here, since closing it would drop SQLite's locks on it (sqlite.org/howtocorrupt.html, section 2.2).
func syncFiles(dir string, paths []string) error {
	var errs []error
	for _, path := range append(paths, dir) {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(file.Sync(), file.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// settlePositions makes the present positions safe ones, at the end.
func (w *writer) settlePositions() error {
	if err := syncFiles(w.r.opts.Dir, w.unsynced()); err != nil {
		return err
	}
	var positions []Position
	safe := map[string]Position{}
	for source, p := range w.positions {
		positions = append(positions, p.Position)
		safe[source] = p.Position
	}
	w.markSafe(safe)
	if len(positions) == 0 {
		return nil
	}
	return w.savePositions(positions)
}
