package setup

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aymanbagabas/go-udiff"
)

// Plan is a change of a Postfix configuration that was not made yet.
type Plan struct {
	Dir   string // of the configuration
	Notes []string
	Files []File // those that change; empty: everything is as it should be
}

// File is one file before and after.
type File struct {
	Path   string
	Before []byte
	After  []byte
}

// Diff is the change as unified diff; empty when there is none.
func (p *Plan) Diff() string {
	var text bytes.Buffer
	for _, file := range p.Files {
		text.WriteString(udiff.Unified(file.Path, file.Path+" (postfleet)", string(file.Before), string(file.After)))
	}
	return text.String()
}

// Wire plans what Postfix needs that it doesn't have. Planning again after it was applied gives an empty plan.
func Wire(ctx context.Context, dir string, want Wanted) (*Plan, error) {
	return plan(ctx, dir, want, (*wiring).wireRelay, (*wiring).wireMilter, (*wiring).wireCapture)
}

// Unwire plans to take out what is postfleet's and nothing else. Wanted says by which names it is known; whether Capture is
// wanted plays no part.
func Unwire(ctx context.Context, dir string, want Wanted) (*Plan, error) {
	return plan(ctx, dir, want, (*wiring).unwireCapture, (*wiring).unwireMilter, (*wiring).unwireRelay)
}

func plan(ctx context.Context, dir string, want Wanted, steps ...func(*wiring, context.Context) error) (_ *Plan, err error) {
	copied, err := newScratch(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := copied.close(); err == nil {
			err = closing
		}
	}()
	w := &wiring{scratch: copied, want: want}
	for _, step := range steps {
		if err := step(w, ctx); err != nil {
			return nil, err
		}
	}
	p := &Plan{Dir: dir, Notes: w.notes}
	for _, name := range files {
		file := File{Path: filepath.Join(dir, name)}
		if file.Before, err = os.ReadFile(file.Path); err != nil {
			return nil, fmt.Errorf("read what to change: %w", err)
		}
		if file.After, err = os.ReadFile(filepath.Join(copied.dir, name)); err != nil {
			return nil, fmt.Errorf("read the change: %w", err)
		}
		if !bytes.Equal(file.Before, file.After) {
			p.Files = append(p.Files, file)
		}
	}
	return p, nil
}
