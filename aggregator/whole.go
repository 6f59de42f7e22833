package aggregator

import (
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Lists that a node left out are empty ones from here on: readers of the JSON API, in whatever language, must not meet a
// null where the description says list.

func whole[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

// takeMessage makes an answered message ours: it belongs to the node that was asked, whatever it says itself.
func takeMessage(m *fleet.Message, node string) {
	m.Node, m.AsOf = node, time.Time{}
	whole(&m.Recipients)
}

func wholeStats(s *fleet.Stats) {
	whole(&s.Steps)
	whole((*[]int)(&s.Delay))
	whole(&s.Destinations)
	whole(&s.Refusals)
}

func wholeInfo(info *fleet.NodeInfo) {
	whole(&info.Capabilities)
	whole(&info.Checks)
	if info.Relay != nil {
		whole(&info.Relay.Candidates)
	}
}

func wholeTranscripts(transcripts []fleet.Transcript) []fleet.Transcript {
	whole(&transcripts)
	for i := range transcripts {
		whole(&transcripts[i].Lines)
	}
	return transcripts
}
