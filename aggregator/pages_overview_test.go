package aggregator

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/postfleet/postfleet/aggregator/accounts"
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

// Figures that nobody gave are none, and not zero: that would look like no mail.
func TestOverviewWithoutAnswers(t *testing.T) {
	ts := startServer(t)
	client := ts.signedIn(accounts.Viewer)
	ts.fleet.node("a").set(func(n *fakeNode) { n.stats.Steps = make([]fleet.Step, spans[2].Steps) })
	ts.fleet.node("b").set(func(n *fakeNode) { n.down = errDown })
	silent := func(path string) bool {
		got := ts.get(client, path)
		if got.status != http.StatusOK || !bytes.Contains(got.body, []byte("<b><bdi>b</bdi> did not answer</b>")) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
		if bytes.Contains(got.body, []byte("No figures")) == bytes.Contains(got.body, []byte("tile-value")) {
			t.Errorf("%s: %s", path, got.body)
		}
		return bytes.Contains(got.body, []byte("No figures"))
	}
	if silent("/") || silent("/?node=a") || !silent("/?node=b") {
		t.Error("one of two nodes is away")
	}
	ts.fleet.node("a").set(func(n *fakeNode) { n.down = errDown })
	if !silent("/") {
		t.Error("both are away")
	}
	if got := ts.get(client, "/?node=nobody"); got.status != http.StatusNotFound {
		t.Errorf("a node that there isn't: %d", got.status)
	}
}
