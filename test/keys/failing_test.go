package keys

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// A resolver that is gone, slow, or says what can't be so, makes "could not tell": nothing is switched, nothing is an alarm, and
// the rotation goes on when it is itself again.
func TestResolverThatCannotBeBelieved(t *testing.T) {
	ctx := lab.Within(t, 4*time.Minute)
	resolver := startResolver(t)
	s := startSite(t, ctx, siteOptions{nodes: 1, resolver: resolver.addr, byHand: true})
	resolver.bind.Store(s.bind)
	node := s.Nodes[0].Name
	publish := func() {
		t.Helper()
		keys, err := s.keys(ctx, node)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if err := s.bind.Update(ctx, "admin", domain, fmt.Sprintf("update add %s. 1 TXT %s", key.Name, quote(key.Text))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, mood := range moods {
		t.Run("first key, resolver "+mood.name, func(t *testing.T) {
			resolver.mood.Store(mood.is)
			s.awaitFailure(t, ctx, node, mood.says)
			if states, err := s.states(ctx, node); err != nil || states[node] != fleet.KeyGenerated {
				t.Errorf("%v, %v", states, err)
			}
		})
	}
	publish()
	resolver.mood.Store(honest)
	s.await(t, ctx, node, allActive(node))
	sending := startLoad(t, s.Nodes[0].Postfix.Addr)
	if err := s.order(ctx, node, aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain}); err != nil {
		t.Fatal(err)
	}
	for _, mood := range moods {
		t.Run("rotation, resolver "+mood.name, func(t *testing.T) {
			resolver.mood.Store(mood.is)
			s.awaitFailure(t, ctx, node, mood.says)
			keys, err := s.keys(ctx, node)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				old := key.Selector == node || key.Selector == node+"-ed25519"
				if key.Signs != old || key.Alarm() != "" {
					t.Errorf("%s is %s, signs %v, alarm %q", key.Selector, key.State, key.Signs, key.Alarm())
				}
			}
		})
	}
	publish()
	resolver.mood.Store(honest)
	s.await(t, ctx, node, rotated(node))
	sending.stop()
	s.expectAllVerified(t, ctx, sending)
}

// moods in an order in which none says what the one before said.
var moods = []struct {
	name string
	is   int32
	says string
}{{"gone", silent, "no answer in time"}, {"lying", lying, "without the zone's SOA"}, {"failing", failing, "SERVFAIL"},
	{"confused", confused, "another question"}, {"slow", slow, "no answer in time"}}

// awaitFailure waits until the node says of every key that it could not tell, and why.
func (s *site) awaitFailure(t *testing.T, ctx context.Context, node, why string) {
	t.Helper()
	lab.Await(t, ctx, func(ctx context.Context) error {
		keys, err := s.keys(ctx, node)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if key.Stage != fleet.StageRetired && (!strings.HasPrefix(key.Found.Failure, "could not tell") || !strings.Contains(key.Found.Failure, why)) {
				return fmt.Errorf("%s: %+v", key.Selector, key.Found)
			}
		}
		return nil
	})
}

// expectAllVerified waits until all mail has arrived.
func (s *site) expectAllVerified(t *testing.T, ctx context.Context, sending *load) {
	t.Helper()
	accepted, put := sending.figures()
	lab.Await(t, ctx, func(context.Context) error {
		if taken, _, _ := s.judge.sofar(); taken < accepted {
			return fmt.Errorf("%d of %d messages arrived", taken, accepted)
		}
		return nil
	})
	taken, faults, selectors := s.judge.sofar()
	if len(faults) > 0 || taken == 0 {
		t.Errorf("%d accepted, %d arrived; faults:\n%s", accepted, taken, strings.Join(faults, "\n"))
	}
	t.Logf("%d messages, all verified: %v; %d not accepted", taken, selectors, len(put))
}

func quote(text string) string {
	var parts []string
	for len(text) > 255 {
		parts = append(parts, `"`+text[:255]+`"`)
		text = text[255:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ")
}

// Updates that the server refuses, and records that never come, leave the old keys signing; what is called off is gone.
func TestStepsThatFail(t *testing.T) {
	ctx := lab.Within(t, 3*time.Minute)
	// Each node may write the names of its first keys alone: its next ones are refused.
	s := startSite(t, ctx, siteOptions{nodes: 2, policy: " grant n1 name n1._domainkey.shop.example. TXT; grant n1 name n1-ed25519._domainkey.shop.example. TXT;" +
		" grant n2 name n2._domainkey.shop.example. TXT; grant n2 name n2-ed25519._domainkey.shop.example. TXT;"})
	for _, node := range s.Nodes {
		s.await(t, ctx, node.Name, allActive(node.Name))
	}
	sending := startLoad(t, s.Nodes[0].Postfix.Addr, s.Nodes[1].Postfix.Addr)
	if err := s.order(ctx, "n1", aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain}); err != nil {
		t.Fatal(err)
	}
	lab.Await(t, ctx, func(ctx context.Context) error {
		keys, err := s.keys(ctx, "n1")
		for _, key := range keys {
			if err == nil && key.Stage == fleet.StageWaiting && !strings.Contains(key.UpdateErr, "refused the update") {
				err = fmt.Errorf("%s: %q", key.Selector, key.UpdateErr)
			}
		}
		return err
	})
	s.await(t, ctx, "n1", allActive("n1"))
	t.Run("activated without its record", func(t *testing.T) {
		err := s.order(ctx, "n1", aggregator.KeyChange{Verb: fleet.KeyActivate, Domain: domain, Selector: waiting(t, ctx, s, "n1")})
		if err == nil || !strings.Contains(err.Error(), "was not seen") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a second rotation", func(t *testing.T) {
		err := s.order(ctx, "n1", aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain})
		if err == nil || !strings.Contains(err.Error(), "waits already") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("called off", func(t *testing.T) {
		for range 2 {
			if err := s.order(ctx, "n1", aggregator.KeyChange{Verb: fleet.KeyRetire, Domain: domain, Selector: waiting(t, ctx, s, "n1")}); err != nil {
				t.Fatal(err)
			}
		}
		left, err := filepath.Glob(filepath.Join(s.Nodes[0].Dir, "keys", domain, "*.pem"))
		if err != nil || len(left) > 0 {
			t.Errorf("private keys are left: %v, %v", left, err)
		}
	})
	t.Run("the record of a key in use vanishes", func(t *testing.T) {
		keep, err := s.bind.TXT(ctx, "n2._domainkey."+domain)
		if err != nil || len(keep) != 1 {
			t.Fatalf("%q, %v", keep, err)
		}
		if err := s.bind.Update(ctx, "admin", domain, "update delete n2._domainkey.shop.example. TXT"); err != nil {
			t.Fatal(err)
		}
		states := s.await(t, ctx, "n2", func(states map[string]fleet.KeyState) bool { return states["n2"] == fleet.KeyMissing })
		keys, err := s.keys(ctx, "n2")
		if err != nil || !slices.ContainsFunc(keys, func(k fleet.Key) bool { return k.Selector == "n2" && k.Signs && k.Alarm() != "" }) {
			t.Errorf("%v, %v", states, err)
		}
		if err := s.bind.Update(ctx, "admin", domain, "update add n2._domainkey.shop.example. 1 TXT "+quote(keep[0])); err != nil {
			t.Fatal(err)
		}
		s.await(t, ctx, "n2", allActive("n2"))
	})
	sending.stop()
}

// waiting is the selector of a key that waits.
func waiting(t *testing.T, ctx context.Context, s *site, node string) string {
	t.Helper()
	keys, err := s.keys(ctx, node)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if key.Stage == fleet.StageWaiting {
			return key.Selector
		}
	}
	t.Fatal("no key waits")
	return ""
}

// A daemon that is killed at any moment of a rotation goes on with it, and mail verifies throughout.
func TestKilledWhileRotating(t *testing.T) {
	ctx := lab.Within(t, 4*time.Minute)
	s := startSite(t, ctx, siteOptions{nodes: 1})
	node := s.Nodes[0]
	s.await(t, ctx, node.Name, allActive(node.Name))
	sending := startLoad(t, node.Postfix.Addr)
	for kill := range 8 {
		before, err := s.states(ctx, node.Name)
		if err != nil {
			t.Fatal(err)
		}
		ordered := make(chan error, 1)
		go func() {
			ordered <- s.order(ctx, node.Name, aggregator.KeyChange{Verb: fleet.KeyRotate, Domain: domain})
		}()
		select { // anywhere from before the keys are made to after they sign
		case <-time.After(time.Duration(rand.IntN(900)) * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := node.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-ordered; err != nil {
			t.Logf("kill %d: the order was cut off", kill)
		}
		after := s.await(t, ctx, node.Name, func(states map[string]fleet.KeyState) bool { return len(signs(states)) == 2 })
		t.Logf("kill %d: %d keys before, %d after, signs with %v", kill, len(before), len(after), signs(after))
		s.await(t, ctx, node.Name, func(states map[string]fleet.KeyState) bool { // what was begun comes to its end
			for _, state := range states {
				if state == fleet.KeyGenerated || state == fleet.KeyPublished {
					return false
				}
			}
			return true
		})
	}
	sending.stop()
	s.expectAllVerified(t, ctx, sending)
	temporary, err := filepath.Glob(filepath.Join(node.Dir, "keys", "state.json.*"))
	if err != nil || len(temporary) > 0 {
		t.Errorf("files left by kills: %v, %v", temporary, err)
	}
}
