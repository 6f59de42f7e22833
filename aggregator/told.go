package aggregator

import (
	"slices"

	"github.com/postfleet/postfleet/internal/fleet"
)

// told are the messages of a node that pages showed from memory while the node was away, newest first and without overlap.
// The node keeps its place in the list meanwhile, so that what memory lacked comes when it is back; what was told doesn't
// come again.
type told []stretch

// stretch is a range of message ids, both ends included.
type stretch struct{ high, low fleet.MessageID }

// maxSpans bounds what a cursor carries of a node. Beyond it the newest are taken together: what lies between them counts
// as told, and comes when the list is loaded anew.
const maxSpans = 64

func (t told) has(id fleet.MessageID) bool {
	return slices.ContainsFunc(t, func(s stretch) bool { return s.low <= id && id <= s.high })
}

// lowest is where memory goes on: below everything that was told. Zero: nothing was.
func (t told) lowest() fleet.MessageID {
	if len(t) == 0 {
		return 0
	}
	return t[len(t)-1].low
}

// skip is the position behind a stretch that was told, for one that leads into it.
func (t told) skip(before fleet.MessageID) fleet.MessageID {
	for _, s := range t {
		if before > 0 && s.low < before && before <= s.high+1 {
			return s.low
		}
	}
	return before
}

// and are these and more, all of them below.
func (t told) and(more []fleet.MessageID) told {
	all := slices.Clone(t)
	for _, id := range more {
		all = append(all, stretch{id, id})
	}
	for len(all) > maxSpans {
		all[1].high = all[0].high
		all = all[1:]
	}
	return all
}

// below are those that a node which continues at a position would come to again; zero is the beginning.
func (t told) below(at fleet.MessageID) told {
	if at == 0 {
		return t
	}
	kept := slices.DeleteFunc(slices.Clone(t), func(s stretch) bool { return s.low >= at })
	if len(kept) > 0 {
		kept[0].high = min(kept[0].high, at-1)
	}
	return kept
}
