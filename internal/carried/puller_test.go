package carried

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/fleet"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// shelf is a repository of a few messages.
type shelf struct {
	mu       sync.Mutex
	messages map[fleet.MessageID]*fleet.Message
	appended int // events
	largest  int // events at once
	paused   bool
	err      error
}

func newShelf(messages ...*fleet.Message) *shelf {
	s := &shelf{messages: map[fleet.MessageID]*fleet.Message{}}
	for _, m := range messages {
		s.messages[m.ID] = m
	}
	return s
}

func (s *shelf) Awaiting() (ids []fleet.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, m := range s.messages {
		if m.AwaitsCarrier() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *shelf) Message(_ context.Context, id fleet.MessageID) (*fleet.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[id]
	if m == nil {
		return nil, fleet.Errorf(fleet.CodeNotFound, "no message %s", id)
	}
	c := *m
	c.Recipients = slices.Clone(m.Recipients)
	return &c, s.err
}

func (s *shelf) Messages(_ context.Context, q fleet.Query) (*fleet.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := &fleet.Page{}
	for _, m := range s.messages {
		if q.Match(m) {
			page.Messages = append(page.Messages, *m)
		}
	}
	return page, s.err
}

func (s *shelf) Append(_ context.Context, events ...*fleet.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appended += len(events)
	s.largest = max(s.largest, len(events))
	for _, e := range events {
		for _, m := range s.messages {
			if fleet.Choose([]*fleet.Message{m}, e) != nil {
				m.Apply(e)
			}
		}
	}
	return nil
}

func (s *shelf) Recording() fleet.Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused {
		return fleet.Recording{State: "paused"}
	}
	return fleet.Recording{State: "ok"}
}

// change lets a test do something to a message.
func (s *shelf) change(id fleet.MessageID, f func(m *fleet.Message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.messages[id])
}

func (s *shelf) fate(id fleet.MessageID) fleet.Fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages[id].Fate()
}

// origin is a message of mx1 whose recipients went to a carrier; ids count seconds since noon.
func origin(n int, hop string, recipients int) *fleet.Message {
	at := noon.Add(time.Duration(n) * time.Second)
	m := &fleet.Message{Node: "mx1", ID: fleet.MessageIDAt(at), QueueID: fmt.Sprint("A", n), MessageID: fmt.Sprint(n, "@x"), FirstSeen: at, Removed: at}
	for i := range recipients {
		m.Apply(&fleet.Event{ID: fleet.EventID(i + 1), Time: at, QueueID: m.QueueID, Body: &fleet.Attempted{Recipient: fmt.Sprint("r", i),
			Attempt: fleet.Attempt{ID: fleet.EventID(i + 1), Time: at, Status: "sent", Hop: hop, RemoteID: fmt.Sprint("R", n)}}})
	}
	return m
}

// hopOf is the same mail on the node that carries it, delivered.
func hopOf(m *fleet.Message, node string) *fleet.Message {
	hop := &fleet.Message{Node: node, ID: m.ID + 7, QueueID: "R" + m.QueueID[1:], MessageID: m.MessageID, FirstSeen: m.FirstSeen, Source: fleet.SourceHop,
		Hop: &fleet.Hop{Origin: m.Node, QueueID: m.QueueID}, Removed: m.FirstSeen, LastChange: m.FirstSeen}
	for i := range m.Recipients {
		hop.Recipients = append(hop.Recipients, fleet.Recipient{Address: m.Recipients[i].Address, Status: fleet.StatusDelivered,
			Attempts: []fleet.Attempt{{Status: "sent", RelayAddr: "192.0.2.9"}}})
	}
	return hop
}

// far is a carrier as the origin reaches it.
type far struct {
	name   string
	answer Answerer

	mu         sync.Mutex
	err        error
	questions  int
	mails      int
	recipients int // most in one question
	open       int
	opened     int
	block      chan struct{} // nil: answers at once
}

func (f *far) Carried(ctx context.Context, mails []fleet.Handover) ([][]fleet.Report, error) {
	f.mu.Lock()
	f.questions++
	f.mails = max(f.mails, len(mails))
	sum := 0
	for i := range mails {
		sum += len(mails[i].Recipients)
	}
	f.recipients = max(f.recipients, sum)
	err, block := f.err, f.block
	f.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return f.answer.Carried(ctx, "mx1", mails)
}

func (f *far) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	return nil
}

func (f *far) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *far) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.questions
}

// clock is the time as a test sets it.
type clock struct {
	mu sync.Mutex
	is time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.is
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.is = c.is.Add(d)
}

// fleetOf are carriers by name, each with its messages.
type fleetOf map[string]*far

func (f fleetOf) add(name string, hops ...*fleet.Message) *shelf {
	s := newShelf(hops...)
	f[name] = &far{name: name, answer: Answerer{Messages: s}}
	return s
}

func (f fleetOf) members() (list []fleet.Member) {
	for name := range f {
		list = append(list, fleet.Member{Name: name, API: "https://" + name})
	}
	return append(list, fleet.Member{Name: "mx1", API: "https://mx1"}, fleet.Member{Name: "silent"})
}

func (f fleetOf) connect(m fleet.Member) (Carrier, error) {
	to := f[m.Name]
	if to == nil || m.API != "https://"+m.Name {
		return nil, fmt.Errorf("connect to %+v", m)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.open++
	to.opened++
	return to, nil
}

// run lets a puller work until the test ends.
func run(t *testing.T, store Store, carriers fleetOf, change ...func(*Options)) (*Puller, *clock) {
	t.Helper()
	c := &clock{is: noon.Add(time.Minute)}
	o := Options{Node: "mx1", Store: store, Members: carriers.members, Connect: carriers.connect, Log: zaptest.NewLogger(t),
		Metrics: NewMetrics(prometheus.NewRegistry()), Now: c.now, MaxMails: 3, MaxRecipients: 10, Every: time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	p := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		p.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		for name, to := range carriers {
			if to.open != 0 {
				t.Errorf("%d connections to %s are left", to.open, name)
			}
		}
	})
	return p, c
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	named, chosen, lost := origin(1, "mx2", 1), origin(2, fleet.AnyCarrier, 2), origin(3, "mx2", 1)
	mine := newShelf(named, chosen, lost)
	carriers := fleetOf{}
	carriers.add("mx2", hopOf(named, "mx2"))
	carriers.add("mx3", hopOf(chosen, "mx3"))
	p, c := run(t, mine, carriers)
	eventually(t, "two are told", func() bool {
		return mine.fate(named.ID) == fleet.FateDelivered && mine.fate(chosen.ID) == fleet.FateDelivered
	})
	if got := chosen.Recipients[1].Carrier(); got != "mx3" {
		t.Errorf("the node that took it: %q", got)
	}
	eventually(t, "one is left", func() bool { return p.State().Waiting == 1 })
	// The carrier of the third has it in its repository only now: it is asked again as time passes.
	s := carriers["mx2"].answer.Messages.(*shelf)
	s.mu.Lock()
	late := hopOf(lost, "mx2")
	s.messages[late.ID] = late
	s.mu.Unlock()
	eventually(t, "the third", func() bool { c.pass(time.Second); return mine.fate(lost.ID) == fleet.FateDelivered })
	eventually(t, "nothing is left", func() bool { return p.State().Waiting == 0 })
	before := carriers["mx2"].asked()
	c.pass(time.Hour)
	eventually(t, "it looked again", func() bool { c.pass(time.Minute); return p.State().Waiting == 0 })
	if carriers["mx2"].asked() != before {
		t.Error("asked although nothing is waited for")
	}
}

// A mail's way on the carrier shows step by step on the origin.
func TestPullFollows(t *testing.T) {
	t.Parallel()
	m := origin(1, "mx2", 1)
	mine, hop := newShelf(m), hopOf(m, "mx2")
	hop.Removed, hop.Recipients = time.Time{}, nil
	carriers := fleetOf{}
	theirs := carriers.add("mx2", hop)
	_, c := run(t, mine, carriers)
	for i, step := range []struct {
		body fleet.Body
		want fleet.Fate
	}{
		{&fleet.Activated{Sender: "a"}, fleet.FateRelayed},
		{&fleet.Attempted{Recipient: "r0", Attempt: fleet.Attempt{ID: 1, Status: "deferred"}}, fleet.FateDeferred},
		{&fleet.HoldChanged{Held: true}, fleet.FateHeld},
		{&fleet.HoldChanged{}, fleet.FateDeferred},
		{&fleet.Attempted{Recipient: "r0", Attempt: fleet.Attempt{ID: 2, Status: "deferred"}}, fleet.FateDeferred},
		{&fleet.Expired{}, fleet.FateBounced},
		{&fleet.Linked{Kind: fleet.LinkBounce, QueueID: "B1"}, fleet.FateBounced},
		{&fleet.Left{By: fleet.LeftDone}, fleet.FateBounced},
	} {
		theirs.change(hop.ID, func(m *fleet.Message) {
			m.Apply(&fleet.Event{ID: fleet.EventID(100 + i), Time: noon.Add(time.Duration(i+2) * time.Second), QueueID: m.QueueID, Body: step.body})
		})
		eventually(t, fmt.Sprintf("step %d: %s", i, step.want), func() bool { c.pass(time.Second); return mine.fate(m.ID) == step.want })
	}
	eventually(t, "the last word", func() bool { c.pass(time.Second); return len(mine.Awaiting()) == 0 })
	mine.mu.Lock()
	defer mine.mu.Unlock()
	if diff := cmp.Diff([]fleet.Link{{Kind: fleet.LinkBounce, QueueID: "B1", Node: "mx2"}}, m.Links); diff != "" {
		t.Error(diff)
	}
}

// A carrier that is away is asked less and less, holds up nobody, and is made up for when it is back.
func TestCarrierAway(t *testing.T) {
	t.Parallel()
	var mails, away, there []*fleet.Message
	for n := range 10 {
		m := origin(n, []string{"mx2", "mx3"}[n%2], 1)
		mails = append(mails, m)
		if n%2 == 0 {
			away = append(away, hopOf(m, "mx2"))
		} else {
			there = append(there, hopOf(m, "mx3"))
		}
	}
	mine, carriers := newShelf(mails...), fleetOf{}
	carriers.add("mx2", away...)
	carriers.add("mx3", there...)
	carriers["mx2"].fail(errors.New("node mx2 refused the connection"))
	p, c := run(t, mine, carriers)
	eventually(t, "the others are told", func() bool { c.pass(time.Second); return len(mine.Awaiting()) == len(away) })
	eventually(t, "it is named", func() bool {
		c.pass(time.Second)
		return p.State().Silent["mx2"] == "node mx2 refused the connection"
	})
	before := carriers["mx2"].asked()
	for range 3600 {
		c.pass(time.Second)
	}
	eventually(t, "it is asked again", func() bool { c.pass(time.Second); return carriers["mx2"].asked() > before })
	carriers["mx2"].fail(nil)
	eventually(t, "all are told", func() bool { c.pass(time.Minute); return len(mine.Awaiting()) == 0 })
	eventually(t, "it is well again", func() bool { c.pass(time.Second); return len(p.State().Silent) == 0 })
	if carriers["mx2"].opened != 1 {
		t.Errorf("%d connections", carriers["mx2"].opened)
	}
}

// One that takes its time is not asked anything else meanwhile, and the end doesn't wait for it.
func TestSlowCarrier(t *testing.T) {
	t.Parallel()
	slow, quick := origin(1, "mx2", 1), origin(2, "mx3", 1)
	mine, carriers := newShelf(slow, quick), fleetOf{}
	carriers.add("mx2", hopOf(slow, "mx2"))
	carriers.add("mx3", hopOf(quick, "mx3"))
	carriers["mx2"].block = make(chan struct{})
	_, c := run(t, mine, carriers, func(o *Options) { o.Timeout = time.Hour })
	eventually(t, "the other is told", func() bool { c.pass(time.Minute); return mine.fate(quick.ID) == fleet.FateDelivered })
	eventually(t, "it was asked", func() bool { c.pass(time.Minute); return carriers["mx2"].asked() == 1 })
}

// Questions keep within what the node API takes, and commits small enough for mail to come in between.
func TestQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	var mails, hops []*fleet.Message
	for n, recipients := range []int{1, 1, 1, 1, 1, 8, 8, 250, 3} {
		m := origin(n, "mx2", recipients)
		mails, hops = append(mails, m), append(hops, hopOf(m, "mx2"))
	}
	mine, carriers := newShelf(mails...), fleetOf{}
	carriers.add("mx2", hops...)
	run(t, mine, carriers, func(o *Options) { o.MaxRecipients = 120 })
	eventually(t, "all are told", func() bool { return len(mine.Awaiting()) == 0 })
	f := carriers["mx2"]
	if f.mails > 3 || f.recipients > 120 || mine.largest > perCommit {
		t.Errorf("%d mails, %d recipients in a question, %d events in a commit", f.mails, f.recipients, mine.largest)
	}
}

// A member whose address is none is named, and costs the others nothing.
func TestUnreachableMember(t *testing.T) {
	t.Parallel()
	lost, found := origin(1, "mx2", 1), origin(2, "mx3", 1)
	mine, carriers := newShelf(lost, found), fleetOf{}
	carriers.add("mx3", hopOf(found, "mx3"))
	p, c := run(t, mine, carriers, func(o *Options) {
		o.Members = func() []fleet.Member {
			return append(carriers.members(), fleet.Member{Name: "mx2", API: "nowhere"})
		}
	})
	eventually(t, "the other is told", func() bool { c.pass(time.Second); return mine.fate(found.ID) == fleet.FateDelivered })
	eventually(t, "it is named", func() bool { c.pass(time.Second); return strings.HasPrefix(p.State().Silent["mx2"], "connect to") })
}

// The end finds a member that is being asked over a connection that was there before.
func TestEndWhileAsking(t *testing.T) {
	t.Parallel()
	first, second := origin(1, "mx2", 1), origin(2, "mx2", 1)
	mine, carriers := newShelf(first, second), fleetOf{}
	carriers.add("mx2", hopOf(first, "mx2"))
	_, c := run(t, mine, carriers, func(o *Options) { o.Timeout = time.Hour })
	eventually(t, "one is told", func() bool { c.pass(time.Second); return mine.fate(first.ID) == fleet.FateDelivered })
	f := carriers["mx2"]
	f.mu.Lock()
	f.block = make(chan struct{})
	before := f.questions
	f.mu.Unlock()
	eventually(t, "it is asked again", func() bool { c.pass(time.Minute); return f.asked() > before })
}

// While recording is paused nobody is asked: what is told would be lost.
func TestPausedRecording(t *testing.T) {
	t.Parallel()
	m := origin(1, "mx2", 1)
	mine, carriers := newShelf(m), fleetOf{}
	mine.paused = true
	carriers.add("mx2", hopOf(m, "mx2"))
	p, c := run(t, mine, carriers)
	eventually(t, "it waits", func() bool { c.pass(time.Second); return p.State().Waiting == 1 })
	if carriers["mx2"].asked() != 0 {
		t.Error("asked")
	}
	mine.mu.Lock()
	mine.paused = false
	mine.mu.Unlock()
	eventually(t, "it is told", func() bool { c.pass(time.Second); return mine.fate(m.ID) == fleet.FateDelivered })
}

func TestInterval(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]time.Duration{0: time.Second, -time.Hour: time.Second, 5 * time.Second: time.Second, time.Minute: 6 * time.Second,
		10 * time.Minute: time.Minute, time.Hour: 5 * time.Minute, 100 * time.Hour: 5 * time.Minute, 8 * 24 * time.Hour: time.Hour} {
		for range 100 {
			if got := interval(age); got < want*9/10 || got > want*11/10 {
				t.Fatalf("age %s: %s, want about %s", age, got, want)
			}
		}
	}
}

// FollowKeepsWhatItKnows: a list that changed keeps the times of those that were on it before.
func TestFollow(t *testing.T) {
	t.Parallel()
	var s schedule
	s.follow([]fleet.MessageID{2, 4, 6}, noon)
	s.find(4).due = noon.Add(time.Hour)
	s.find(6).due = noon.Add(2 * time.Hour)
	s.follow([]fleet.MessageID{1, 4, 5, 6, 7}, noon.Add(time.Minute))
	got := map[fleet.MessageID]time.Duration{}
	for _, e := range s.entries {
		got[e.id] = e.due.Sub(noon)
	}
	want := map[fleet.MessageID]time.Duration{1: time.Minute, 4: time.Hour, 5: time.Minute, 6: 2 * time.Hour, 7: time.Minute}
	if diff := cmp.Diff(want, got); diff != "" || s.find(2) != nil || s.find(9) != nil {
		t.Error(diff)
	}
	s.follow(nil, noon)
	if len(s.entries) != 0 {
		t.Error(s.entries)
	}
}
