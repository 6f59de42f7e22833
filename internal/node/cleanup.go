package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// cleanups undo what was started, the last first.
type cleanups struct {
	log   *zap.Logger
	steps []cleanup
}

type cleanup struct {
	name string
	run  func(context.Context) error
}

// add remembers how to undo the step that was just done.
func (c *cleanups) add(name string, run func(context.Context) error) {
	c.steps = append(c.steps, cleanup{name, run})
}

// run undoes every step, whatever the others say, and gives their errors together. A step must end soon after its
// context does; one that doesn't is left behind, so that nothing holds up the end of the daemon.
func (c *cleanups) run(ctx context.Context) error {
	var errs []error
	for _, step := range slices.Backward(c.steps) {
		began := time.Now()
		if err := c.bounded(ctx, step); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", step.name, err))
		}
		c.log.Debug("stopped", zap.String("part", step.name), zap.Duration("took", time.Since(began)))
	}
	c.steps = nil
	return errors.Join(errs...)
}

// grace is what a step gets after its context ended.
const grace = 2 * time.Second

func (c *cleanups) bounded(ctx context.Context, step cleanup) error {
	done := make(chan error, 1)
	go func() { done <- step.run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("did not end: %w", ctx.Err())
	}
}

// loop is work that goes on until it is stopped; stopping one that never started is fine.
type loop struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func (l *loop) start(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.running.Go(func() { run(ctx) })
}

func (l *loop) stop(context.Context) error {
	if l.cancel != nil {
		l.cancel()
	}
	l.running.Wait()
	return nil
}
