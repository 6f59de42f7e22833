package consul

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"
)

const (
	// spacing bounds how often a query whose answer keeps changing is asked.
	spacing = 100 * time.Millisecond
	// firstRetry is the pause after the first failure; it doubles with each further one.
	firstRetry = 200 * time.Millisecond
	// waitSlack is for the answer itself, behind the wait and the sixteenth of it that Consul adds to spread its load.
	waitSlack = 10 * time.Second
)

// watch asks a blocking query, which waits so long for a change, until ctx ends. ask puts the answer where it belongs; its error, and the end of a trouble,
// are logged once. The rules for the index are those of Consul's documentation of blocking queries: from zero again when
// it goes backwards, which a restored or replaced server does, and never zero after an answer.
func (c *Client) watch(ctx context.Context, what string, wait time.Duration, ask func(*api.QueryOptions) (*api.QueryMeta, error)) {
	var index uint64
	trouble := trouble{log: c.log.With(zap.String("query", what))}
	for ctx.Err() == nil {
		began := time.Now()
		limited, cancel := context.WithTimeout(ctx, wait+wait/16+waitSlack)
		options := &api.QueryOptions{WaitIndex: index, WaitTime: wait, AllowStale: true}
		meta, err := ask(options.WithContext(limited))
		cancel()
		c.metrics.answered(what, err)
		if err != nil {
			// What answers next may count from elsewhere, so it is asked without an index.
			index = 0
			if ctx.Err() == nil {
				trouble.note(err)
				pause(ctx, c.retryAfter(trouble.count))
			}
			continue
		}
		trouble.over()
		switch {
		case meta.LastIndex < index:
			index = 0
		default:
			index = max(meta.LastIndex, 1)
		}
		pause(ctx, spacing-time.Since(began))
	}
}

// retryAfter is the pause after so many failures in a row: doubling, and a random half of it taken off, so that the nodes
// of a fleet don't come back to a server at the same moment.
func (c *Client) retryAfter(failures int) time.Duration {
	full := min(firstRetry<<min(failures-1, 16), c.retryMax)
	return full/2 + rand.N(full/2+1) //nolint:gosec // spreads load, guards nothing
}

// pause waits, or returns at once when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// trouble logs the first failure of a row, and its end.
type trouble struct {
	log   *zap.Logger
	count int
	since time.Time
}

func (t *trouble) note(err error) {
	if t.count == 0 {
		t.since = time.Now()
		t.log.Warn("consul does not answer; what is known stays in use", zap.Error(err))
	}
	t.count++
}

func (t *trouble) over() {
	if t.count > 0 {
		t.log.Info("consul answers again", zap.Int("failures", t.count), zap.Duration("after", time.Since(t.since)))
	}
	t.count = 0
}

// words puts a failure to reach Consul into words for the person at the page.
func words(err error) string {
	var status api.StatusError
	var op *net.OpError
	switch {
	case errors.As(err, &status) && status.Code == 403:
		return "Consul refused the token: " + firstLine(status.Body)
	case errors.As(err, &status):
		return fmt.Sprintf("Consul answered %d: %s", status.Code, firstLine(status.Body))
	case errors.As(err, &op):
		return "the Consul agent can't be reached: " + op.Err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "the Consul agent does not answer"
	}
	return "asking Consul: " + err.Error()
}
