package aggregator

import (
	"net/url"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// What was refused is found where it lies: in the queue, bounced, or rejected in the session.
func TestRefusalLink(t *testing.T) {
	v := &overviewPage{Since: time.Unix(0, 0), Until: time.Unix(60, 0), Node: "mx1"}
	for _, c := range []struct{ example, domain, view string }{
		{"host mx.example[192.0.2.1] said: 550 5.1.1 No such user (in reply to RCPT TO command)", "a.example", "bounced"},
		{"host mx.example[192.0.2.1] said: 451 4.7.1 Greylisted (in reply to RCPT TO command)", "a.example", "queue"},
		{"connect to mx.example[192.0.2.1]:25: Connection timed out", "a.example", "queue"},
		{"554 5.7.1 <x@a.example>: Relay access denied", "a.example", "rejected"},
		{"5.7.1 Relay access denied", "", "rejected"},
		{"", "a.example", "queue"},
	} {
		link, err := url.Parse(v.refusalLink(fleet.Refusal{Example: c.example, Domain: c.domain}))
		if err != nil {
			t.Fatal(err)
		}
		got := link.Query()
		if got.Get("view") != c.view || got.Get("domain") != c.domain || got.Get("node") != "mx1" || got.Get("since") == "" || got.Get("until") == "" {
			t.Errorf("%q leads to %s", c.example, link)
		}
	}
}

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
