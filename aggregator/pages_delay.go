package aggregator

import (
	"strconv"

	"github.com/postfleet/postfleet/internal/fleet"
)

// delayPart is one stretch of an attempt's delay, drawn as a part of a bar that is 100 wide.
type delayPart struct {
	Name    string
	Seconds float64
	X, W    float64
	Class   string
}

// The parts of delays= in Postfix's log, a/b/c/d.
var delayNames = [...]string{"before the queue manager", "in the queue manager", "connection set-up", "transmission"}

// delayParts lays a/b/c/d out on a bar. Parts that took any time at all stay visible.
func delayParts(delays []float64) []delayPart {
	if len(delays) != len(delayNames) {
		return nil
	}
	const least = 1.5
	total, tiny := 0.0, 0.0
	for _, seconds := range delays {
		total += max(0, seconds)
	}
	if total == 0 {
		return nil
	}
	for _, seconds := range delays {
		if seconds > 0 && 100*seconds/total < least {
			tiny += least
		}
	}
	var parts []delayPart
	x := 0.0
	for i, seconds := range delays {
		width := 0.0
		if seconds > 0 {
			width = max(least, seconds/total*(100-tiny))
		}
		width = min(width, 100-x)
		parts = append(parts, delayPart{delayNames[i], seconds, round2(x), round2(width), "d" + strconv.Itoa(i)})
		x += width
	}
	return parts
}

func round2(x float64) float64 { return float64(int(x*100+0.5)) / 100 }

// delayChart is the distribution of delivery delays as bars of an SVG that is 100 high, one unit of width a bucket.
type delayChart struct {
	Bars         []delayBar
	Width        int
	Median, High float64 // seconds
	XMedian      float64
	XHigh        float64
	First, Last  float64 // seconds at the ends of the axis
}

type delayBar struct {
	X    int
	Y, H float64
	Note string
}

func newDelayChart(h fleet.Histogram) delayChart {
	first, last, most := -1, 0, 0
	for i, n := range h {
		if n > 0 {
			if first < 0 {
				first = i
			}
			last = i
			most = max(most, n)
		}
	}
	if first < 0 {
		return delayChart{}
	}
	chart := delayChart{Width: last - first + 1, Median: h.Quantile(0.5), High: h.Quantile(0.95), First: fleet.BucketLimit(first - 1), Last: fleet.BucketLimit(last)}
	for i := first; i <= last; i++ {
		limit := fleet.BucketLimit(i)
		if h[i] > 0 {
			height := max(1, round2(100*float64(h[i])/float64(most)))
			chart.Bars = append(chart.Bars, delayBar{i - first, 100 - height, height, "up to " + secondsWords(limit) + ": " + countWords(h[i])})
		}
		if limit <= chart.Median {
			chart.XMedian = float64(i-first) + 0.5
		}
		if limit <= chart.High {
			chart.XHigh = float64(i-first) + 0.5
		}
	}
	return chart
}
