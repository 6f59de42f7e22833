package aggregator

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// lookingNode is a node that looks at itself and remembers what it was asked.
type lookingNode struct {
	Node
	info fleet.NodeInfo

	mu    sync.Mutex
	asked []fleet.DiagnoseRequest
}

func (n *lookingNode) Info(context.Context) (*fleet.NodeInfo, error) { return &n.info, nil }

func (n *lookingNode) Diagnoses(context.Context) (*fleet.Diagnoses, error) {
	return &fleet.Diagnoses{}, nil
}

func (n *lookingNode) Diagnose(_ context.Context, request fleet.DiagnoseRequest) (*fleet.Diagnoses, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, request)
	return &fleet.Diagnoses{}, nil
}

func (n *lookingNode) SendTest(_ context.Context, request fleet.TestRequest) (*fleet.TestMessage, error) {
	return &fleet.TestMessage{To: request.To}, nil
}

func (n *lookingNode) last() fleet.DiagnoseRequest {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) == 0 {
		return fleet.DiagnoseRequest{}
	}
	return n.asked[len(n.asked)-1]
}

// oldNode runs a version without diagnostics.
type oldNode struct{ Node }

func (oldNode) Info(context.Context) (*fleet.NodeInfo, error) {
	return &fleet.NodeInfo{Name: "old"}, nil
}

type fixedMembers []fleet.Member

func (m fixedMembers) Members() []fleet.Member { return m }

func lookingFleet(t *testing.T) (*Fanout, *lookingNode) {
	t.Helper()
	looking := &lookingNode{info: fleet.NodeInfo{Name: "mx1", Now: time.Now(), Selectors: []fleet.Selector{{Domain: "a.test", Selector: "mx1"}},
		Egress: []fleet.Egress{{Address: "192.0.2.1", From: "configured"}}, Takes: &fleet.MailLimits{Size: 5}}}
	nodes := map[string]Node{"mx1": looking, "old": oldNode{}}
	f := NewFanout(FanoutOptions{Members: fixedMembers{{Name: "mx1", API: "a"}, {Name: "old", API: "b"}}, Log: zaptest.NewLogger(t),
		Dial: func(m fleet.Member) Node { return nodes[m.Name] }})
	t.Cleanup(f.Close)
	return f, looking
}

// Each node is told what the others are; one whose version can't look is named.
func TestDiagnose(t *testing.T) {
	f, looking := lookingFleet(t)
	found := f.Diagnose(t.Context(), "", []string{"spf"}, "olga")
	if len(found) != 2 || found[0].Error != "" || found[1].Error == "" || found[1].Diagnoses != nil {
		t.Fatalf("%+v", found)
	}
	asked := looking.last()
	if asked.By != "olga" || asked.Cause != fleet.CauseOperator || asked.Hear || len(asked.Fleet) != 2 {
		t.Fatalf("%+v", asked)
	}
	asked.Fleet[0].Clock = 0
	want := fleet.Peer{Name: "mx1", Egress: []string{"192.0.2.1"}, Selectors: []fleet.Selector{{Domain: "a.test", Selector: "mx1"}}, Takes: &fleet.MailLimits{Size: 5}}
	if diff := cmp.Diff(want, asked.Fleet[0]); diff != "" {
		t.Error(diff)
	}
	if found := f.Diagnoses(t.Context(), "nobody"); len(found) != 1 || found[0].Error == "" {
		t.Errorf("a node that isn't there: %+v", found)
	}
	sent := f.SendTest(t.Context(), "", fleet.TestRequest{To: "you@b.test"})
	if sent[0].Message == nil || sent[0].Message.To != "you@b.test" || sent[1].Error == "" {
		t.Errorf("%+v", sent)
	}
}

func TestTellPeers(t *testing.T) {
	f, looking := lookingFleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	ended := make(chan struct{})
	go func() { f.TellPeers(ctx, time.Millisecond); close(ended) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !looking.last().Hear && ctx.Err() == nil {
		<-tick.C
	}
	if asked := looking.last(); !asked.Hear || len(asked.Fleet) != 2 {
		t.Errorf("told %+v", asked)
	}
	cancel()
	<-ended
}

// What no node carried out is an error, and isn't written down as done. Of some, the page names those that didn't.
func TestOrdersThatNobodyCarriesOut(t *testing.T) {
	ts := startServer(t) // nodes of a version without diagnostics
	for _, c := range []struct {
		name, path, body string
		action           Action
	}{
		{"a diagnosis", "/diagnosis", `{}`, ActionDiagnose},
		{"a test message", "/test-messages", `{"to": "you@b.test"}`, ActionTest},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ts.post(accounts.Operator, apiPrefix+c.path, c.body)
			if text := string(got.body); got.status != http.StatusServiceUnavailable || !strings.Contains(text, "node a: ") || !strings.Contains(text, "node b: ") {
				t.Errorf("%d %s", got.status, text)
			}
			if entry := ts.audited()[0]; entry.Action != c.action || !strings.HasPrefix(entry.Note, "not done: node a: ") {
				t.Errorf("audit: %+v", entry)
			}
		})
	}
}

func TestSomeNodesDontLook(t *testing.T) {
	f, looking := lookingFleet(t)
	ts := startServer(t, func(o *Options) { o.Fleet = f })
	client := ts.signedIn(accounts.Operator)
	sent := ts.submit(client, "/diagnostics", url.Values{})
	if sent.status != http.StatusSeeOther {
		t.Fatalf("%d %s", sent.status, sent.body)
	}
	got := ts.get(client, sent.header.Get("Location"))
	if text := string(got.body); got.status != http.StatusOK || !strings.Contains(text, "Not begun.") || !strings.Contains(text, "old: ") {
		t.Errorf("%d %s", got.status, text)
	}
	if looking.last().Cause != fleet.CauseOperator {
		t.Error("the other node doesn't look")
	}
}
