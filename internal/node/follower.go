package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/logsource"
	"github.com/postfleet/postfleet/internal/node/mta"
	"github.com/postfleet/postfleet/internal/postfixlog"
	"github.com/postfleet/postfleet/internal/repository"
)

// follower reads Postfix's log into the repository. Position, the tracker's memory and the events commit together, so
// that a kill at any moment loses and doubles nothing: what follows the stored position is read again by a tracker that
// knows what it knew the first time.
type follower struct {
	source logsource.Source
	store  logStore
	hop    func(addr string, port int) string // see [postfixlog.Options]
	log    *zap.Logger

	mu     sync.Mutex
	counts postfixlog.Counts // of the tracker that runs
	before postfixlog.Counts // of those before it
	failed int64             // times that the repository did not take a batch
	reason string            // why not, while that holds
}

// logStore is what a follower needs of the repository.
type logStore interface {
	Position(source string) (repository.Position, bool, error)
	AppendLog(ctx context.Context, at repository.Position, events []*fleet.Event) error
}

// Pauses after the repository failed to take a batch.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		f.fail(err)
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, lastPause)
	}
}

// follow reads on from the stored position until ctx ends or the repository fails.
func (f *follower) follow(ctx context.Context) error {
	tracker, cursor, err := f.resume()
	if err != nil {
		return err
	}
	return f.source.Run(ctx, cursor, func(batch logsource.Batch) error {
		tracker.SetReference(batch.Read)
		for _, line := range batch.Lines {
			tracker.Feed(line)
		}
		events := tracker.Flush()
		err := f.store.AppendLog(ctx, repository.Position{Source: positionName, Cursor: batch.Cursor, State: tracker.Snapshot()}, events)
		if err != nil {
			return fmt.Errorf("store log events: %w", err)
		}
		f.took(tracker.Counts())
		return nil
	})
}

// resume makes a tracker that knows what it knew at the stored position.
func (f *follower) resume() (*postfixlog.Tracker, string, error) {
	at, found, err := f.store.Position(positionName)
	if err != nil {
		return nil, "", fmt.Errorf("log position: %w", err)
	}
	tracker := postfixlog.New(postfixlog.Options{Hop: f.hop})
	if !found {
		f.log.Info("reading the log from its beginning", zap.String("source", f.source.State().Source))
	} else if err := tracker.Restore(at.State); err != nil {
		if !errors.Is(err, postfixlog.ErrSnapshot) {
			return nil, "", err
		}
		f.log.Warn("conversations that were under way in the log begin in the middle", zap.Error(err))
	}
	f.mu.Lock()
	f.before, f.counts = f.totals(), postfixlog.Counts{}
	f.mu.Unlock()
	return tracker, at.Cursor, nil
}

func (f *follower) took(counts postfixlog.Counts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts, f.reason = counts, ""
}

func (f *follower) fail(err error) {
	f.log.Warn("log events not stored, trying again", zap.Error(err))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed++
	f.reason = err.Error()
}

// totals adds up the counts of all trackers; the caller holds the lock.
func (f *follower) totals() postfixlog.Counts {
	sum := f.counts
	sum.Lines += f.before.Lines
	sum.Foreign += f.before.Foreign
	sum.Unknown += f.before.Unknown
	sum.Long += f.before.Long
	if sum.Sample == "" {
		sum.Sample = f.before.Sample
	}
	if sum.Last.IsZero() {
		sum.Last = f.before.Last
	}
	if sum.Capture == "" || sum.Capture == postfixlog.CaptureUnknown {
		sum.Capture = f.before.Capture
	}
	return sum
}

func (f *follower) sum() postfixlog.Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.totals()
}

// state is how far the follower is. Lines are those of the log, whatever program wrote them.
func (f *follower) state() fleet.LogState {
	state, counts := f.source.State(), f.sum()
	state.Lines, state.LastLine = counts.Lines, counts.Last
	state.Unknown, state.Sample = counts.Unknown, counts.Sample
	f.mu.Lock()
	defer f.mu.Unlock()
	if state.Error == "" {
		state.Error = f.reason
	}
	return state
}

// capture is what the log showed at the last delivery over SMTP.
func (f *follower) capture() mta.Capture {
	switch f.sum().Capture {
	case postfixlog.CaptureOn:
		return mta.CaptureOn
	case postfixlog.CaptureOff:
		return mta.CaptureOff
	}
	return mta.CaptureUnknown
}
