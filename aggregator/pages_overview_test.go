package aggregator

import (
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestDelayChart(t *testing.T) {
	var h fleet.Histogram
	for _, seconds := range []float64{0.1, 0.2, 0.2, 0.3, 0.4, 60} {
		h.Observe(seconds, 10)
	}
	chart := newDelayChart(h)
	if len(chart.Bars) != 5 || chart.First > 0.1 || chart.Last < 60 || chart.XMedian > chart.XHigh || chart.XHigh > float64(chart.Width) {
		t.Errorf("%+v", chart)
	}
	for _, bar := range chart.Bars {
		if bar.X < 0 || bar.X >= chart.Width || bar.H <= 0 || bar.Y+bar.H != 100 {
			t.Errorf("bar %+v", bar)
		}
	}
	if empty := newDelayChart(nil); len(empty.Bars) != 0 {
		t.Errorf("nothing has bars: %+v", empty)
	}
}
