package diagnose

import (
	"context"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Times of a run. Checks run beside each other; the resolver remembers what one asked for the others.
const (
	checkTimeout = 45 * time.Second
	atOnce       = 6
)

// RunOptions say what to run.
type RunOptions struct {
	Checks []string // names; empty: all of the table
	// Progress is told of each finding as it is there, one after another; nil: nobody.
	Progress func(fleet.Finding)
}

// Run makes all checks, or those that are asked for, and gives their findings in the order of the table. The error is about
// the names alone.
func Run(ctx context.Context, f *Facts, o RunOptions) ([]fleet.Finding, error) {
	chosen, err := only(Table, o.Checks)
	if err != nil {
		return nil, err
	}
	f.out = new(outwards)
	f.learn(ctx)
	findings := make([]fleet.Finding, len(chosen))
	var telling sync.Mutex
	var all sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range chosen {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			findings[i] = runOne(ctx, &chosen[i], f)
			if o.Progress != nil {
				telling.Lock()
				defer telling.Unlock()
				o.Progress(findings[i])
			}
		})
	}
	all.Wait()
	return findings, nil
}

func runOne(ctx context.Context, c *Check, f *Facts) fleet.Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	began := time.Now()
	found := c.finding(ctx, f)
	found.Took = time.Since(began)
	return found
}

// Compare notes in the findings of a run what the run before said otherwise, and lists it. Checks that only one of them had
// are no change.
func Compare(now, before []fleet.Finding) (changes []fleet.GradeChange) {
	was := map[string]fleet.Grade{}
	for i := range before {
		was[before[i].Check] = before[i].Grade
	}
	for i := range now {
		found := &now[i]
		found.Was = ""
		if grade, there := was[found.Check]; there && grade != found.Grade {
			found.Was = grade
			changes = append(changes, fleet.GradeChange{Check: found.Check, From: grade, To: found.Grade})
		}
	}
	return changes
}
