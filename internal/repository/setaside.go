package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"
)

var errDamaged = errors.New("file is damaged")

func tooNew(err error) bool {
	var newer *newerError
	return errors.As(err, &newer)
}

// setAside renames the file that err blames, so that the daemon goes on without it, and says so. The error is err itself
// when it blames none.
func (w *writer) setAside(err error) error {
	var blamed *segmentError
	if !errors.As(err, &blamed) {
		return err
	}
	s := blamed.segment
	for _, c := range []*chain{w.r.messages, w.r.transcripts} {
		c.drop(s)
	}
	s.retire()
	_ = s.shut() // what a damaged file has to say on closing is known
	suffix := ".corrupt-"
	if tooNew(err) {
		suffix = ".newer-"
	}
	suffix += w.r.opts.Now().UTC().Format("20060102T150405.000000")
	for _, part := range fileSuffixes {
		if err := os.Rename(s.path+part, s.path+suffix+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set %s aside: %w", s.path, err)
		}
	}
	w.r.log.Error("repository: file set aside", zap.String("file", s.path), zap.String("as", s.path+suffix), zap.Error(err))
	w.r.state.addSetAside(fmt.Sprintf("%s set aside as %s: %v", s.name(), s.name()+suffix, blamed.err))
	w.r.metrics.setAside.Inc()
	for source, p := range w.positions {
		if p.home == s {
			w.positions[source].home = nil
		}
	}
	return nil
}

// setAsideNow sets a file aside that a reader found damaged, between commits.
func (w *writer) setAsideNow(err error) error {
	var blamed *segmentError
	if errors.As(err, &blamed) && !blamed.segment.isRetired() {
		if err := w.setAside(err); err != nil {
			return err
		}
		w.forget()
		w.tried = time.Time{}
		w.ready()
	}
	return nil
}
