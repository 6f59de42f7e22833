package fleet

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHistogramQuantile(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for n := 1; n <= 1000; n++ {
		h.Observe(float64(n)/10, 1)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.95: 95, 1: 100} {
		if got := h.Quantile(q); got < want || got > want*histogramGrowth {
			t.Errorf("quantile %v: got %v, want %v or up to a quarter more", q, got, want)
		}
	}
}

func TestHistogramTakesAnyNumber(t *testing.T) {
	var h Histogram
	for _, seconds := range []float64{-1, 0, 0.01, math.Inf(1), math.NaN(), math.MaxFloat64, 1e9} {
		h.Observe(seconds, 1)
	}
	if len(h) > histogramBuckets {
		t.Errorf("%d buckets", len(h))
	}
}

func TestHistogramBounds(t *testing.T) {
	for i := range 100 {
		var h Histogram
		h.Observe(BucketLimit(i), 1)
		if len(h) != i+1 {
			t.Errorf("the limit of bucket %d falls into bucket %d", i, len(h)-1)
		}
	}
}

func TestStatsAdd(t *testing.T) {
	one := Stats{Steps: []Step{{Messages: 1, Delivered: 2}, {Waiting: 1}}, Total: Step{Messages: 1, Delivered: 2, Waiting: 1},
		Delay: Histogram{1}, Encrypted: 1, Destinations: []Destination{{Domain: "a", Delivered: 2}},
		Refusals: []Refusal{{Reason: "r", Example: "first", Count: 1}}}
	two := Stats{Steps: []Step{{Bounced: 1}, {Rejected: 1, Other: 1}, {Messages: 9}}, Total: Step{Bounced: 1, Rejected: 1, Other: 1},
		Delay: Histogram{0, 3}, Clear: 2, Destinations: []Destination{{Domain: "b", Bounced: 3}, {Domain: "a", Waiting: 2}},
		Refusals: []Refusal{{Reason: "s", Count: 1}, {Reason: "r", Example: "second", Count: 4}}}
	one.Add(&two)
	want := Stats{Steps: []Step{{Messages: 1, Delivered: 2, Bounced: 1}, {Waiting: 1, Rejected: 1, Other: 1}},
		Total: Step{Messages: 1, Delivered: 2, Waiting: 1, Bounced: 1, Rejected: 1, Other: 1}, Delay: Histogram{1, 3}, Encrypted: 1, Clear: 2,
		Destinations: []Destination{{Domain: "a", Delivered: 2, Waiting: 2}, {Domain: "b", Bounced: 3}},
		Refusals:     []Refusal{{Reason: "r", Example: "first", Count: 5}, {Reason: "s", Count: 1}}}
	if diff := cmp.Diff(want, one); diff != "" {
		t.Error(diff)
	}
}

func TestStatsAddKeepsTheTop(t *testing.T) {
	var s, o Stats
	for n := range 2 * TopEntries {
		o.Destinations = append(o.Destinations, Destination{Domain: fmt.Sprint(n), Delivered: n})
	}
	s.Add(&o)
	if len(s.Destinations) != TopEntries || s.Destinations[0].Delivered != 2*TopEntries-1 {
		t.Errorf("%d destinations, the first %+v", len(s.Destinations), s.Destinations[0])
	}
}
