package relay

import (
	"math"
	"slices"
	"sync"
	"time"
)

// A message with many recipients makes the queue manager ask for the same sender at once. Such questions share a turn, so
// that the message stays together; and only so many, so that a sender of much mail is spread all the same.
const (
	sameMessage    = 2 * time.Millisecond
	longestMessage = 32
)

// turns are points of the unit interval, drawn at random. Postfix asks more than once about a message, at RCPT TO and in the
// queue manager, and nobody can tell which question decides: counting round, or any order that knows the last turn, gives some
// nodes the questions that matter and others the rest. It is safe for concurrent use.
type turns struct {
	random func() float64

	mu     sync.Mutex
	at     float64
	sender string
	asked  time.Time
	shared int
}

func (t *turns) next(sender string, now time.Time) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := now.Sub(t.asked)
	t.asked = now
	if sender == t.sender && since >= 0 && since < sameMessage && t.shared < longestMessage {
		t.shared++
		return t.at
	}
	t.sender, t.shared, t.at = sender, 0, t.random()
	return t.at
}

// order gives the candidates in the order in which they should be tried: by the turn, which is in [0,1), the first with a
// probability of its weight, the second of its weight among those left, and so on.
func order(candidates []candidate, turn float64) []candidate {
	left := slices.Clone(candidates)
	total := 0.0
	for _, c := range left {
		total += float64(c.weight)
	}
	for i := range left {
		rest, at := left[i:], turn*total
		pick := 0
		for pick < len(rest)-1 && at >= float64(rest[pick].weight) {
			at -= float64(rest[pick].weight)
			pick++
		}
		// Where in its share the turn fell is as even as the turn itself, and chooses among the others.
		chosen := rest[pick]
		turn = min(max(at/float64(chosen.weight), 0), math.Nextafter(1, 0))
		total -= float64(chosen.weight)
		copy(rest[1:pick+1], rest[:pick])
		rest[0] = chosen
	}
	return left
}
