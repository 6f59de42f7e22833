package aggregator

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestOneMessage(t *testing.T) {
	f := newFakeFleet("a", "b")
	f.node("a").add(5)
	f.node("b").down = errDown
	f.sick = "no banner"
	fan := newTestFanout(t, f)
	message, answer, err := fan.Message(t.Context(), "a", 5)
	if err != nil || message.Node != "a" || message.ID != 5 || answer.Node != "a" || answer.Took <= 0 {
		t.Errorf("%+v %+v %v", message, answer, err)
	}
	for _, tc := range []struct {
		node, want string
		id         fleet.MessageID
		code       fleet.Code
	}{
		{"a", "no message 6", 6, fleet.CodeNotFound},
		{"b", "node b: connection refused (not healthy: no banner)", 5, fleet.CodeUnavailable},
		{"z", `no node "z" in the fleet`, 5, fleet.CodeNotFound},
	} {
		_, answer, err := fan.Message(t.Context(), tc.node, tc.id)
		if fleet.CodeOf(err) != tc.code || err.Error() != tc.want || answer.Node != tc.node || answer.Error == "" {
			t.Errorf("%s: %v, %+v", tc.node, err, answer)
		}
		if _, _, err := fan.Transcripts(t.Context(), tc.node, tc.id); tc.node != "a" && fleet.CodeOf(err) != tc.code {
			t.Errorf("transcripts of %s: %v", tc.node, err)
		}
	}
}

func TestStats(t *testing.T) {
	f := newFakeFleet("a", "b", "c")
	f.node("a").stats = fleet.Stats{Total: fleet.Step{Delivered: 3}, Delay: fleet.Histogram{1, 2}, Encrypted: 2,
		Destinations: []fleet.Destination{{Domain: "example.com", Delivered: 3}}}
	f.node("b").stats = fleet.Stats{Total: fleet.Step{Delivered: 4}, Delay: fleet.Histogram{0, 0, 5},
		Destinations: []fleet.Destination{{Domain: "example.com", Delivered: 4}}}
	f.node("c").down = errDown
	fan := newTestFanout(t, f)
	q := fleet.StatsQuery{Since: noon, Until: noon.Add(4 * time.Hour), Steps: 4}
	got, err := fan.Stats(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if got.Fleet.Total.Delivered != 7 || got.Fleet.Encrypted != 2 || len(got.ByNode) != 2 || got.ByNode["a"].Total.Delivered != 3 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(fleet.Histogram{1, 2, 5}, got.Fleet.Delay); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]fleet.Destination{{Domain: "example.com", Delivered: 7}}, got.Fleet.Destinations); diff != "" {
		t.Error(diff)
	}
	if len(got.Fleet.Steps) != 4 || !got.Fleet.Steps[3].Start.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("steps %v", got.Fleet.Steps)
	}
	if bad := failed(got.Nodes); len(bad) != 1 || bad[0].Node != "c" {
		t.Errorf("failed: %v", bad)
	}
	var wrong *fleet.Error
	if _, err := fan.Stats(t.Context(), fleet.StatsQuery{Since: noon, Until: noon, Steps: 4}); !errors.As(err, &wrong) || wrong.Field != "until" {
		t.Errorf("empty range: %v", err)
	}
}

// Several pages that are open become one question every two seconds; the clock difference leaves the round trip out.
func TestNodeFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFleet("a", "b")
		f.node("b").down = errDown
		f.node("a").info = fleet.NodeInfo{Name: "a", Now: time.Now().Add(90 * time.Second)}
		fan := newTestFanout(t, f)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				views := fan.Nodes(t.Context())
				if len(views) != 2 || views[0].Info == nil || views[0].ClockDiff != 90*time.Second {
					t.Errorf("a: %+v", views[0])
				}
				if views[1].Info != nil || views[1].Answer.Error != "connection refused" || views[1].Member.Name != "b" {
					t.Errorf("b: %+v", views[1])
				}
			})
		}
		all.Wait()
		if n := f.node("a").infos; n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(factsAge + time.Millisecond)
		fan.Nodes(t.Context())
		if n := f.node("a").infos; n != 2 {
			t.Errorf("asked %d times after the facts were old", n)
		}
	})
}

// closingNode tells that its client was closed.
type closingNode struct {
	*fakeNode
	closed *int
}

func (n closingNode) Close() error {
	*n.closed++
	return nil
}

// A client is kept while its member stays where it is, and closed when it leaves or moves.
func TestClients(t *testing.T) {
	f := newFakeFleet("a")
	dialled, closed := 0, 0
	members := &movingMember{member: fleet.Member{Name: "a", API: "https://one"}}
	fan := NewFanout(FanoutOptions{Members: members, Log: zap.NewNop(), Dial: func(fleet.Member) Node {
		dialled++
		return closingNode{f.node("a"), &closed}
	}})
	for range 3 {
		fan.peers()
	}
	members.member.API = "https://two"
	fan.peers()
	if dialled != 2 || closed != 1 {
		t.Errorf("moved: dialled %d, closed %d", dialled, closed)
	}
	members.gone = true
	fan.peers()
	if closed != 2 {
		t.Errorf("left: closed %d", closed)
	}
	members.gone = false
	fan.peers()
	fan.Close()
	if closed != 3 {
		t.Errorf("ended: closed %d", closed)
	}
}

type movingMember struct {
	member fleet.Member
	gone   bool
}

func (m *movingMember) Members() []fleet.Member {
	if m.gone {
		return nil
	}
	return []fleet.Member{m.member, m.member} // twice, as a confused discovery may say
}
