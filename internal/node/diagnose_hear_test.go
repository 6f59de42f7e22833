package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Of a node that is away stays what it said last, also in the file that outlives the daemon; what it says anew is written.
func TestHear(t *testing.T) {
	d := &diagnostician{log: zaptest.NewLogger(t), kept: diagnosesOf(t.TempDir()), now: func() time.Time { return time.Unix(1e9, 0) }}
	there := fleet.Peer{Name: "n2", Egress: []string{"192.0.2.2"}, Selectors: []fleet.Selector{{Domain: "a.test", Selector: "n2"}}, Takes: &fleet.MailLimits{Size: 5}}
	away := there
	away.Error = "no answer"
	more := there
	more.Takes = &fleet.MailLimits{Size: 6}
	for _, c := range []struct{ says, want, kept fleet.Peer }{
		{there, there, there}, {fleet.Peer{Name: "n2", Error: "no answer"}, away, there}, {more, more, more}} {
		d.hear([]fleet.Peer{c.says})
		if diff := cmp.Diff([]fleet.Peer{c.want}, d.told.Peers); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]fleet.Peer{c.kept}, readTold(d.kept.dir).Peers); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
	}
}
