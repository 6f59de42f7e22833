package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"
)

func TestIndexRules(t *testing.T) {
	c := &Client{retryMax: time.Millisecond, log: zap.NewNop(), metrics: newMetrics(nil)}
	broken := errors.New("broken")
	answers := []struct {
		index uint64
		err   error
	}{{7, nil}, {9, nil}, {3, nil}, {5, nil}, {0, broken}, {0, broken}, {6, nil}, {0, nil}, {0, nil}, {2, nil}}
	var asked []uint64
	ctx, cancel := context.WithCancel(t.Context())
	c.watch(ctx, "test", time.Minute, func(q *api.QueryOptions) (*api.QueryMeta, error) {
		asked = append(asked, q.WaitIndex)
		answer := answers[len(asked)-1]
		if len(asked) == len(answers) {
			cancel()
		}
		if q.WaitTime != time.Minute || !q.AllowStale {
			t.Errorf("options %+v", q)
		}
		return &api.QueryMeta{LastIndex: answer.index}, answer.err
	})
	want := []uint64{0, 7, 9, // forwards
		0, 5, // backwards: from zero
		0, 0, // an error: from zero, too
		6, 0, // backwards to zero
		1, // never zero after an answer
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func TestPausesGrowAndAreSpread(t *testing.T) {
	c := &Client{retryMax: 15 * time.Second}
	for _, tc := range []struct {
		failures int
		longest  time.Duration
	}{{1, firstRetry}, {2, 2 * firstRetry}, {4, 8 * firstRetry}, {20, 15 * time.Second}, {10000, 15 * time.Second}} {
		seen := map[time.Duration]bool{}
		for range 100 {
			pause := c.retryAfter(tc.failures)
			if pause < tc.longest/2 || pause > tc.longest {
				t.Errorf("after %d failures %s, want %s to %s", tc.failures, pause, tc.longest/2, tc.longest)
			}
			seen[pause] = true
		}
		if len(seen) < 50 {
			t.Errorf("after %d failures only %d different pauses", tc.failures, len(seen))
		}
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	pause(ctx, time.Hour)
	if time.Since(began) > time.Minute {
		t.Error("it went on")
	}
}

func TestWords(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{api.StatusError{Code: 403, Body: "Permission denied: token lacks permission 'service:write'\n"},
			"Consul refused the token: Permission denied: token lacks permission 'service:write'"},
		{fmt.Errorf("x: %w", api.StatusError{Code: 500, Body: "No cluster leader"}), "Consul answered 500: No cluster leader"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "the Consul agent can't be reached: connection refused"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), "the Consul agent does not answer"},
		{errors.New("strange"), "asking Consul: strange"},
	} {
		if got := words(tc.err); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}
