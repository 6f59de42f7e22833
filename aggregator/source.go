package aggregator

import (
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// source is one node's part of a merge: a list that is fetched piece by piece.
type source struct {
	peer
	start fleet.MessageID // position at the beginning of the page
	shown fleet.MessageID // last id of the node's own answer that is on the page, or was told before; zero: none
	next  fleet.MessageID // where the next piece begins
	ready []fleet.Message // fetched and not yet on the page
	more  bool            // there is a next piece
	err   error
	took  time.Duration

	told    told              // on earlier pages, from memory
	recalls bool              // the node is away, and pieces come from memory
	telling []fleet.MessageID // on this page, from memory
}

// errLeftOut stands for the answer of a node that wasn't to be asked.
var errLeftOut = fleet.Errorf(fleet.CodeUnavailable, "was not asked")

// fail notes that the node gave no answer. From here on memory stands in where there is one: it goes on below what the
// node itself gave, and below what was told on earlier pages.
func (s *source) fail(f *Fanout, err error) {
	s.err = err
	s.recalls = f.recalls(err)
	if low := s.told.lowest(); low > 0 && (s.next == 0 || low < s.next) {
		s.next = low
	}
}

// dry tells whether a piece must be fetched before the merge can go on.
func (s *source) dry() bool { return len(s.ready) == 0 && s.more && (s.err == nil || s.recalls) }

// accept takes a piece in, if it is what was asked for: ids that fall from the position on. A node with a fault must not
// make others' messages come twice, or a page that never ends.
func (s *source) accept(piece *fleet.Page) error {
	below := s.next
	for i := range piece.Messages {
		id := piece.Messages[i].ID
		if id <= 0 || below > 0 && id >= below {
			return fleet.Errorf(fleet.CodeInternal, "answered messages that are out of order")
		}
		below = id
		takeMessage(&piece.Messages[i], s.Name)
	}
	if piece.Next > 0 && (s.next > 0 && piece.Next >= s.next || below > 0 && piece.Next > below) {
		return fleet.Errorf(fleet.CodeInternal, "answered a page that leads nowhere")
	}
	s.ready, s.next, s.more = piece.Messages, piece.Next, piece.Next > 0
	return nil
}

// position is where the source's next page begins: behind the page where the source was part of it to its end, and
// behind its own last message where it failed on the way.
func (s *source) position(last place) fleet.MessageID {
	at := last.position(s.Name)
	if s.err != nil {
		at = s.shown
	}
	if at == 0 || s.start > 0 && s.start < at {
		return s.start
	}
	return at
}
