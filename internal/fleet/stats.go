package fleet

import (
	"math"
	"sort"
	"time"
)

// StatsQuery asks for the figures of a time range, cut into equal steps.
type StatsQuery struct {
	Since time.Time
	Until time.Time
	Steps int // 1 to MaxSteps
}

// MaxSteps bounds the points of a chart.
const MaxSteps = 400

// Stats are a node's figures over a range; those of several nodes add up with Add. Counts are recipients, by the time
// their message was first seen. A mail counts on its origin, whoever carries it: hops are left out.
type Stats struct {
	Since        time.Time     `json:"since"`
	Until        time.Time     `json:"until"`
	Steps        []Step        `json:"steps"`
	Total        Step          `json:"total"`
	Delay        Histogram     `json:"delay"`     // of delivered recipients, in seconds
	Encrypted    int           `json:"encrypted"` // delivered to another host with TLS; see [Recipient.SentTLS]
	Clear        int           `json:"clear"`     // delivered to another host without
	Destinations []Destination `json:"destinations"`
	Refusals     []Refusal     `json:"refusals"`
}

// Step counts the recipients of one stretch of time by their fate.
type Step struct {
	Start     time.Time `json:"start"`
	Messages  int       `json:"messages"`
	Delivered int       `json:"delivered"`
	Waiting   int       `json:"waiting"` // queued, in transit, deferred, held
	Bounced   int       `json:"bounced"` // and expired
	Rejected  int       `json:"rejected"`
	Other     int       `json:"other"`
}

// Count adds n recipients of a status.
func (s *Step) Count(status Status, n int) {
	switch {
	case status == StatusDelivered:
		s.Delivered += n
	case status.InQueue():
		s.Waiting += n
	case status.Failed():
		s.Bounced += n
	case status == StatusRejected:
		s.Rejected += n
	default:
		s.Other += n
	}
}

func (s *Step) add(o Step) {
	s.Messages += o.Messages
	s.Delivered += o.Delivered
	s.Waiting += o.Waiting
	s.Bounced += o.Bounced
	s.Rejected += o.Rejected
	s.Other += o.Other
}

// Destination is a recipient domain with what became of its mail.
type Destination struct {
	Domain    string `json:"domain"`
	Delivered int    `json:"delivered"`
	Waiting   int    `json:"waiting"`
	Bounced   int    `json:"bounced"`
}

// Refusal is a reason for which mail was not taken, with digits and addresses left out so that like reasons meet; see
// [Recipient.Refusal].
type Refusal struct {
	Reason  string `json:"reason"`
	Example string `json:"example"` // one reply as it came
	Domain  string `json:"domain"`  // a recipient domain it came from
	Count   int    `json:"count"`
}

// TopEntries is how many destinations and refusals a node reports and a page shows.
const TopEntries = 50

// Add adds another node's figures for the same range and steps.
func (s *Stats) Add(o *Stats) {
	for i := range o.Steps {
		if i < len(s.Steps) {
			s.Steps[i].add(o.Steps[i])
		}
	}
	s.Total.add(o.Total)
	s.Delay.Add(o.Delay)
	s.Encrypted += o.Encrypted
	s.Clear += o.Clear
	s.Destinations = mergeTop(append(s.Destinations, o.Destinations...),
		func(d Destination) string { return d.Domain },
		func(into *Destination, d Destination) {
			into.Delivered += d.Delivered
			into.Waiting += d.Waiting
			into.Bounced += d.Bounced
		},
		func(d Destination) int { return d.Delivered + d.Waiting + d.Bounced })
	s.Refusals = mergeTop(append(s.Refusals, o.Refusals...),
		func(r Refusal) string { return r.Reason },
		func(into *Refusal, r Refusal) { into.Count += r.Count },
		func(r Refusal) int { return r.Count })
}

func mergeTop[T any](entries []T, key func(T) string, add func(*T, T), size func(T) int) []T {
	var merged []T
	index := map[string]int{}
	for _, entry := range entries {
		if at, ok := index[key(entry)]; ok {
			add(&merged[at], entry)
			continue
		}
		index[key(entry)] = len(merged)
		merged = append(merged, entry)
	}
	sort.SliceStable(merged, func(i, j int) bool { return size(merged[i]) > size(merged[j]) })
	return merged[:min(len(merged), TopEntries)]
}

// Histogram counts delays in buckets that grow by a quarter each, so that histograms of several nodes add up and a
// quantile is right within 12 %. Bucket i holds delays up to BucketLimit(i).
type Histogram []int

const (
	histogramFirst  = 0.01 // seconds
	histogramGrowth = 1.25
)

// BucketLimit is the largest delay in bucket i, in seconds.
func BucketLimit(i int) float64 { return histogramFirst * math.Pow(histogramGrowth, float64(i)) }

// histogramBuckets bounds a histogram; the last bucket begins at over a thousand years.
const histogramBuckets = 128

// Observe counts n delays of so many seconds.
func (h *Histogram) Observe(seconds float64, n int) {
	i := 0
	if seconds > histogramFirst {
		i = int(min(math.Ceil(math.Log(seconds/histogramFirst)/math.Log(histogramGrowth)-1e-9), histogramBuckets-1))
	}
	for len(*h) <= i {
		*h = append(*h, 0)
	}
	(*h)[i] += n
}

// Add adds another histogram.
func (h *Histogram) Add(o Histogram) {
	for len(*h) < len(o) {
		*h = append(*h, 0)
	}
	for i, n := range o {
		(*h)[i] += n
	}
}

// Quantile is the delay in seconds that the share q of all delays doesn't exceed; zero when there are none.
func (h Histogram) Quantile(q float64) float64 {
	total := 0
	for _, n := range h {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(total)))
	for i, n := range h {
		if rank -= n; rank <= 0 {
			return BucketLimit(i)
		}
	}
	return BucketLimit(len(h) - 1)
}
