package relay

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func three() []candidate {
	return []candidate{{node: "a", weight: 1}, {node: "b", weight: 2}, {node: "c", weight: 5}}
}

// drawn are the same turns every time.
func drawn() *turns { return &turns{random: rand.New(rand.NewPCG(1, 2)).Float64} }

// Whatever part of the questions concerns deliveries, every second, every third, in bursts, each node gets its share of them.
func TestTurnsSpreadByWeight(t *testing.T) {
	for _, c := range []struct {
		name string
		is   func(i int) bool // the question counts
	}{
		{"all", func(int) bool { return true }},
		{"every second", func(i int) bool { return i%2 == 1 }},
		{"every third", func(i int) bool { return i%3 == 0 }},
		{"now the second, now the third", func(i int) bool { return i%5 == 2 || i%5 == 4 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			turns, now := drawn(), time.Unix(1e9, 0)
			first, n := map[string]int{}, 0
			for i := range 20_000 {
				now = now.Add(time.Second)
				list := order(three(), turns.next("s", now))
				if c.is(i) {
					first[list[0].node]++
					n++
				}
			}
			for _, want := range three() {
				if got, share := float64(first[want.node])/float64(n), float64(want.weight)/8; math.Abs(got-share) > 0.02 {
					t.Errorf("%s was first of %.3f, want %.3f", want.node, got, share)
				}
			}
		})
	}
}

// When the first is down, its mail goes to the others by their weights, not all to one.
func TestTurnsSpreadTheSecond(t *testing.T) {
	turns, now := drawn(), time.Unix(1e9, 0)
	second := map[string]map[string]int{}
	for range 40_000 {
		now = now.Add(time.Second)
		list := order(three(), turns.next("s", now))
		if second[list[0].node] == nil {
			second[list[0].node] = map[string]int{}
		}
		second[list[0].node][list[1].node]++
	}
	for first, others := range second {
		total, weights := 0, 0
		for _, c := range three() {
			if c.node != first {
				total, weights = total+others[c.node], weights+c.weight
			}
		}
		for _, c := range three() {
			if got, want := float64(others[c.node])/float64(total), float64(c.weight)/float64(weights); c.node != first && math.Abs(got-want) > 0.02 {
				t.Errorf("after %s, %s was second of %.3f, want %.3f", first, c.node, got, want)
			}
		}
	}
}

func TestOrderKeepsEveryCandidateOnce(t *testing.T) {
	for _, turn := range []float64{0, 0.1, 0.5, 0.999999, math.Nextafter(1, 0)} {
		seen := map[string]bool{}
		for _, c := range order(three(), turn) {
			seen[c.node] = true
		}
		if len(seen) != 3 {
			t.Errorf("turn %g: %v", turn, seen)
		}
	}
	if list := order(nil, 0.5); len(list) != 0 {
		t.Errorf("of nobody: %v", list)
	}
}

// The recipients of one message go one way; the next message of the sender may go another.
func TestOneMessageOneTurn(t *testing.T) {
	turns, now := drawn(), time.Unix(1e9, 0)
	first := turns.next("a@example.com", now)
	if again := turns.next("a@example.com", now.Add(time.Millisecond)); again != first {
		t.Errorf("a millisecond later: %g, then %g", first, again)
	}
	if other := turns.next("b@example.com", now.Add(2*time.Millisecond)); other == first {
		t.Error("another sender has the same turn")
	}
	before := turns.next("c@example.com", now.Add(time.Second))
	if later := turns.next("c@example.com", now.Add(time.Second+sameMessage)); later == before {
		t.Error("a later message has the same turn")
	}
	last, same := turns.next("d@example.com", now.Add(2*time.Second)), 1
	for i := 0; turns.next("d@example.com", now.Add(2*time.Second+time.Duration(i)*time.Microsecond)) == last; i++ {
		same++
	}
	if same != longestMessage+1 {
		t.Errorf("%d questions share a turn, want %d", same, longestMessage+1)
	}
}
