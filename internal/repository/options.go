package repository

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options say where and how to keep messages. Zero values have the defaults given.
type Options struct {
	Dir        string // made where missing, readable by its owner only
	Node       string // name of this node, stored in every message
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil: no metrics are registered
	Now        func() time.Time      // time.Now

	CommitEvery time.Duration // log events wait this long to share a commit; 50 ms
	Gather      time.Duration // the milter's records wait this long to share one; 3 ms
	IndexEvery  time.Duration // a message can be found by more than its time, and counts in sums, after this; 500 ms

	Messages     Retention
	Transcripts  Retention
	Pseudonymise time.Duration // age from which addresses are replaced by pseudonyms; zero: never
	RetainEvery  time.Duration // how often retention is applied; 10 minutes
	MinFree      int64         // bytes on the file system below which recording pauses; 16 MiB, negative: no limit

	free func(dir string) (int64, error) // file system's free bytes; tests replace it
	boot string                          // of the machine; tests replace it
}

// Retention bounds what is kept; whatever is over first goes first. Whole files go, a day or less each, so a message can
// outlive Age by a day.
type Retention struct {
	Age   time.Duration // zero: no limit
	Bytes int64         // on disk; zero: no limit
}

func (o *Options) fill() {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	defaults := []struct {
		value *time.Duration
		want  time.Duration
	}{{&o.CommitEvery, 50 * time.Millisecond}, {&o.Gather, 3 * time.Millisecond}, {&o.IndexEvery, 500 * time.Millisecond},
		{&o.RetainEvery, 10 * time.Minute}}
	for _, d := range defaults {
		if *d.value <= 0 {
			*d.value = d.want
		}
	}
	if o.MinFree == 0 {
		o.MinFree = 16 << 20
	}
	if o.free == nil {
		o.free = freeBytes
	}
	if o.boot == "" {
		o.boot = bootID()
	}
}
