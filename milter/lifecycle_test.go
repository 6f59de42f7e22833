package milter

import (
	"context"
	"errors"
	"testing"
	"time"

	gomilter "github.com/d--j/go-milter"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postfleet/postfleet/internal/fleet"
)

// panicking is a signer that panics at one of its calls.
type panicking struct {
	stamp
	at string
}

func (p *panicking) Header(string, string) {
	if p.at == "header" {
		panic("header")
	}
}

func (p *panicking) Body([]byte) {
	if p.at == "body" {
		panic("body")
	}
}

func (p *panicking) Finish(now time.Time) (fleet.Signed, error) {
	if p.at == "finish" {
		panic("finish")
	}
	return p.stamp.Finish(now)
}

func TestPanicGivesATemporaryFailure(t *testing.T) {
	for _, at := range []string{"begin", "header", "body", "finish"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			policy := testPolicy()
			policy.Sign = func(time.Time) Signing {
				if at == "begin" {
					panic("begin")
				}
				return &panicking{at: at}
			}
			s, path := start(t, Options{Policy: policy, Recorder: &shelf{}})
			c := dial(t, path)
			c.hello("192.0.2.7")
			c.envelope("Q", "b@example.net")
			changes, action := c.content(letter, "x\r\n")
			if action.SMTPReply != replyBroken || len(changes) != 0 {
				t.Errorf("answer %v, changes %v; want %q", action, changes, replyBroken)
			}
			if testutil.ToFloat64(s.metrics.panics) == 0 {
				t.Error("the panic is not counted")
			}
			s.Reload(testPolicy())
			serves(t, path)
		})
	}
}

func TestReload(t *testing.T) {
	store := &shelf{}
	policy, began := counted(testPolicy())
	s, path := start(t, Options{Policy: policy, Recorder: store})
	c := dial(t, path)
	c.hello("192.0.2.7")
	c.ok(c.Mail("a@example.com", ""))
	eventually(t, "MAIL is seen", func() bool { return began.Load() == 1 })
	s.Reload(Policy{}) // the message under way keeps its policy
	c.ok(c.Rcpt("b@example.net", ""))
	c.ok(c.DataStart())
	c.content(letter, "x\r\n")
	_ = c.Abort(nil)
	c.envelope("Q", "b@example.net")
	c.content(letter, "x\r\n")
	events := store.wait(t, 2)
	before, after := recorded(t, events[0]), recorded(t, events[1])
	if len(before.Signatures) != 2 || before.Transcript == nil || before.Subject == "" {
		t.Errorf("before the reload: %+v", before)
	}
	if len(after.Signatures) != 0 || after.Transcript != nil || after.Subject != "" || after.Source != fleet.SourceExternal {
		t.Errorf("after the reload: %+v", after)
	}
}

// TestDrain: a message under way comes to its end, connections between messages close, new ones aren't taken.
func TestDrain(t *testing.T) {
	store := &shelf{}
	policy, began := counted(testPolicy())
	s, path := start(t, Options{Policy: policy, Recorder: store})
	busy, idle := dial(t, path), dial(t, path)
	busy.hello("192.0.2.7")
	busy.envelope("Q", "b@example.net")
	idle.hello("192.0.2.8")
	eventually(t, "MAIL is seen", func() bool { return began.Load() == 1 })
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	eventually(t, "the idle connection closes", func() bool { return s.Traffic().Connections == 1 })
	if _, err := gomilter.NewClient("unix", path).Session(nil); err == nil {
		t.Error("a draining server takes connections")
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned with a message under way: %v", err)
	default:
	}
	if _, action := busy.content(letter, "x\r\n"); action.Type != gomilter.ActionAccept {
		t.Errorf("answer %v", action)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	store.wait(t, 1)
}

func TestDrainIsBounded(t *testing.T) {
	store := &shelf{}
	policy, began := counted(testPolicy())
	s, path := start(t, Options{Policy: policy, Recorder: store})
	c := dial(t, path)
	c.hello("192.0.2.7")
	c.envelope("Q", "b@example.net")
	eventually(t, "MAIL is seen", func() bool { return began.Load() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want a deadline", err)
	}
	if r := recorded(t, store.wait(t, 1)[0]); r.Verdict != fleet.VerdictAborted {
		t.Errorf("recorded %+v", r)
	}
}
