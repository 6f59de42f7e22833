package aggregator

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// span is a range of the overview: how far back, in how many steps.
type span struct {
	Value string
	Text  string
	Back  time.Duration
	Steps int
}

var spans = []span{
	{"1h", "Last hour", time.Hour, 60},
	{"6h", "6 hours", 6 * time.Hour, 72},
	{"24h", "24 hours", 24 * time.Hour, 48},
	{"7d", "7 days", 7 * 24 * time.Hour, 56},
	{"30d", "30 days", 30 * 24 * time.Hour, 60},
}

// overviewPage are the fleet's figures over a range, or those of one of its nodes.
type overviewPage struct {
	Span    span
	Ranges  []tab
	Nodes   []tab
	Node    string
	Stats   *fleet.Stats
	Since   time.Time
	Until   time.Time
	Tiles   []tile
	Steps   []stepRow
	Delay   delayChart
	Delayed string // the list of what the delays were measured on
	ByNode  []nodeShare
	Top     []destinationRow
	Refused []refusalRow
	Failed  []Answer
	Silent  bool // nobody answered whose figures these would be: zeros would look like no mail
	Empty   bool
}

// tile is one figure in large type, with the messages behind it; SubLink leads to those behind the words below it, where
// they are others.
type tile struct {
	Name, Value, Sub, Tone, Link, SubLink string
}

// stepRow is one stretch of time in the chart and in the table that stands in for it.
type stepRow struct {
	fleet.Step
	Link, Good, Wait, Bad, Refused string
}

type nodeShare struct {
	Node, Link     string
	Stats          *fleet.Stats
	Median, High   float64
	TLS, Encrypted string
	Good, Wait     string
	Bad, Refused   string
	DeliveredShare string
}

type destinationRow struct {
	fleet.Destination
	Link             string
	Good, Wait, Bad  string
	WGood, WAll      float64 // of 100: the bar behind the row
	XWait, WWait     float64
	XBounce, WBounce float64
}

type refusalRow struct {
	fleet.Refusal
	Link string
}

func (s *Server) pageOverview(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	view := &overviewPage{Span: spans[2], Node: values.Get("node")}
	if name := values.Get("range"); name != "" {
		at := slices.IndexFunc(spans, func(one span) bool { return one.Value == name })
		if at < 0 {
			s.fail(w, r, fleet.Invalid("range", "not a range: expected 1h, 6h, 24h, 7d or 30d"))
			return
		}
		view.Span = spans[at]
	}
	view.Until = s.clock().UTC().Truncate(time.Second)
	step := view.Span.Back / time.Duration(view.Span.Steps)
	view.Until = view.Until.Truncate(step).Add(step) // steps begin at round times, so that bars don't dance at each refresh
	view.Since = view.Until.Add(-view.Span.Back)
	answer, err := s.fleet.Stats(r.Context(), fleet.StatsQuery{Since: view.Since, Until: view.Until, Steps: view.Span.Steps})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if named := func(a Answer) bool { return a.Node == view.Node }; view.Node != "" && !slices.ContainsFunc(answer.Nodes, named) {
		s.fail(w, r, fleet.Errorf(fleet.CodeNotFound, "no node %q in the fleet", clip(view.Node, 80)))
		return
	}
	view.fill(answer)
	s.render(w, r, http.StatusOK, "overview", "Overview", view)
}

func (v *overviewPage) fill(answer *FleetStats) {
	v.Failed = failed(answer.Nodes)
	v.Stats = &answer.Fleet
	v.Silent = len(answer.ByNode) == 0
	if v.Node != "" {
		if v.Stats = answer.ByNode[v.Node]; v.Stats == nil {
			v.Stats, v.Silent = &fleet.Stats{}, true
		}
	}
	for _, one := range spans {
		v.Ranges = append(v.Ranges, tab{one.Text, overviewLink(one.Value, v.Node), one.Value == v.Span.Value})
	}
	v.Nodes = append(v.Nodes, tab{"Fleet", overviewLink(v.Span.Value, ""), v.Node == ""})
	for _, node := range answer.Nodes {
		v.Nodes = append(v.Nodes, tab{node.Node, overviewLink(v.Span.Value, node.Node), v.Node == node.Node})
	}
	v.Delay, v.Delayed = newDelayChart(v.Stats.Delay), v.whole("status", "delivered")
	v.tiles()
	for _, step := range v.Stats.Steps {
		from, to := step.Start, step.Start.Add(v.Span.Back/time.Duration(v.Span.Steps))
		v.Steps = append(v.Steps, stepRow{Step: step, Link: v.behind(from, to), Good: v.behind(from, to, "status", "delivered"),
			Wait: v.behind(from, to, "view", "queue"), Bad: v.behind(from, to, "view", "bounced"), Refused: v.behind(from, to, "view", "rejected")})
	}
	for _, node := range answer.Nodes {
		if stats := answer.ByNode[node.Node]; stats != nil && (v.Node == "" || v.Node == node.Node) {
			v.ByNode = append(v.ByNode, v.nodeShare(node.Node, stats))
		}
	}
	v.destinations()
	for _, refusal := range v.Stats.Refusals[:min(10, len(v.Stats.Refusals))] {
		v.Refused = append(v.Refused, refusalRow{refusal, v.whole("reason", refusal.Reason)})
	}
	v.Empty = v.Stats.Total.Messages == 0
}

func overviewLink(span, node string) string {
	values := url.Values{"range": {span}}
	if node != "" {
		values.Set("node", node)
	}
	return withQuery("/", values)
}

// behind is the list of the messages behind a figure: those of a stretch of time, on the chosen node, with more filters
// as name and value pairs.
func (v *overviewPage) behind(from, to time.Time, pairs ...string) string {
	values := url.Values{"since": {from.UTC().Format(time.RFC3339)}, "until": {to.UTC().Format(time.RFC3339)}}
	if v.Node != "" {
		values.Set("node", v.Node)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return messagesLink(values)
}

func (v *overviewPage) whole(pairs ...string) string { return v.behind(v.Since, v.Until, pairs...) }

func (v *overviewPage) tiles() {
	t, d := v.Stats.Total, v.Stats.Delay
	recipients := t.Delivered + t.Waiting + t.Bounced + t.Rejected + t.Other
	over := v.Stats.Encrypted + v.Stats.Clear
	v.Tiles = []tile{
		{Name: "Messages", Value: countWords(t.Messages), Sub: "to " + plural(recipients, "recipient", "recipients"), Link: v.whole()},
		{Name: "Delivered", Value: countWords(t.Delivered), Sub: shareWords(t.Delivered, recipients), Tone: "good", Link: v.whole("status", "delivered")},
		{Name: "In queue", Value: countWords(t.Waiting), Sub: "queued, in transit, deferred, held", Tone: "wait", Link: v.whole("view", "queue")},
		{Name: "Bounced", Value: countWords(t.Bounced), Sub: shareWords(t.Bounced, recipients), Tone: "bad", Link: v.whole("view", "bounced")},
		{Name: "Rejected", Value: countWords(t.Rejected), Sub: shareWords(t.Rejected, recipients), Tone: "refused", Link: v.whole("view", "rejected")},
		{Name: "Sent with TLS", Value: shareWords(v.Stats.Encrypted, over), Link: v.whole("tls", fleet.TLSYes),
			Sub: countWords(v.Stats.Clear) + " in clear", SubLink: v.whole("tls", fleet.TLSNo)},
		{Name: "Delivery delay", Value: secondsOrDash(d, 0.5), Sub: "median", Link: v.Delayed},
		{Name: "95 % within", Value: secondsOrDash(d, 0.95), Sub: "delivery delay", Link: v.Delayed},
	}
}

func secondsOrDash(delays fleet.Histogram, q float64) string {
	seconds := delays.Quantile(q)
	if seconds == 0 {
		return "–"
	}
	return secondsWords(seconds)
}

func (v *overviewPage) nodeShare(node string, stats *fleet.Stats) nodeShare {
	of := func(pairs ...string) string { return v.whole(append(pairs, "node", node)...) }
	t := stats.Total
	return nodeShare{Node: node, Stats: stats, Link: of(), Median: stats.Delay.Quantile(0.5), High: stats.Delay.Quantile(0.95),
		TLS: shareWords(stats.Encrypted, stats.Encrypted+stats.Clear), Encrypted: of("tls", fleet.TLSYes),
		Good: of("status", "delivered"), Wait: of("view", "queue"), Bad: of("view", "bounced"), Refused: of("view", "rejected"),
		DeliveredShare: shareWords(t.Delivered, t.Delivered+t.Waiting+t.Bounced+t.Rejected+t.Other)}
}

func (v *overviewPage) destinations() {
	top := v.Stats.Destinations[:min(10, len(v.Stats.Destinations))]
	if len(top) == 0 {
		return
	}
	most := 0
	for _, d := range top {
		most = max(most, d.Delivered+d.Waiting+d.Bounced)
	}
	width := func(n int) float64 { return round2(100 * float64(n) / float64(max(1, most))) }
	for _, d := range top {
		one := destinationRow{Destination: d, Link: v.whole("domain", d.Domain), Good: v.whole("domain", d.Domain, "status", "delivered"),
			Wait: v.whole("domain", d.Domain, "view", "queue"), Bad: v.whole("domain", d.Domain, "view", "bounced")}
		one.WGood, one.WWait, one.WBounce = width(d.Delivered), width(d.Waiting), width(d.Bounced)
		one.XWait = one.WGood
		one.XBounce = one.XWait + one.WWait
		v.Top = append(v.Top, one)
	}
}
