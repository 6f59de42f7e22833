package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

func TestCleanupsRunBackwardsAndTellAll(t *testing.T) {
	var order []string
	first, second := errors.New("first"), errors.New("second")
	stops := cleanups{log: zap.NewNop()}
	for name, err := range map[string]error{"a": first} {
		stops.add(name, func(context.Context) error { order = append(order, name); return err })
	}
	stops.add("b", func(context.Context) error { order = append(order, "b"); return nil })
	stops.add("c", func(context.Context) error { order = append(order, "c"); return second })
	err := stops.run(t.Context())
	if diff := cmp.Diff([]string{"c", "b", "a"}, order); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, first) || !errors.Is(err, second) || !strings.HasPrefix(err.Error(), "stop c: second\nstop a: first") {
		t.Errorf("got %v", err)
	}
	if err := stops.run(t.Context()); err != nil {
		t.Errorf("ran twice: %v", err)
	}
}

func TestCleanupThatHangsIsLeftBehind(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	ran := false
	stops := cleanups{log: zap.NewNop()}
	stops.add("the rest", func(context.Context) error { ran = true; return nil })
	stops.add("stuck", func(context.Context) error { <-hang; return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := stops.run(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop stuck: did not end") {
		t.Errorf("got %v", err)
	}
	if !ran {
		t.Error("the steps after it did not run")
	}
}
