package keys

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// A rotation runs to its end on three nodes under load, and every message verifies against the DNS of its moment: from the
// first key that waited for its record to the removal of the old record.
func TestRotationUnderLoad(t *testing.T) {
	for _, consul := range []bool{false, true} {
		t.Run(fmt.Sprintf("consul %v", consul), func(t *testing.T) { rotateUnderLoad(t, consul) })
	}
}

func rotateUnderLoad(t *testing.T, consul bool) {
	ctx := lab.Within(t, 4*time.Minute)
	s := startSite(t, ctx, siteOptions{consul: consul})
	var servers []string
	for _, node := range s.Nodes {
		s.await(t, ctx, node.Name, allActive(node.Name))
		servers = append(servers, node.Postfix.Addr)
	}
	sending := startLoad(t, servers...)
	awaitMail(t, ctx, s, 10)
	if out, err := postfleet(ctx, s.env(), "dkim", "rotate", "--on-all", "--one-by-one", "--wait", "1m", domain); err != nil {
		t.Fatal(err)
	} else {
		t.Log(out)
	}
	for _, node := range s.Nodes {
		s.await(t, ctx, node.Name, rotated(node.Name))
		s.await(t, ctx, node.Name, func(states map[string]fleet.KeyState) bool {
			return states[node.Name] == fleet.KeyRetired && states[node.Name+"-ed25519"] == fleet.KeyRetired
		})
		lab.Await(t, ctx, func(ctx context.Context) error {
			texts, err := s.bind.TXT(ctx, node.Name+"._domainkey."+domain)
			if err == nil && len(texts) > 0 {
				err = fmt.Errorf("the old record of %s is still there", node.Name)
			}
			return err
		})
	}
	taken, _, _ := s.judge.sofar()
	awaitMail(t, ctx, s, taken+20) // some that the new keys alone signed
	sending.stop()
	accepted, put := sending.figures()
	lab.Await(t, ctx, func(context.Context) error {
		if taken, _, _ := s.judge.sofar(); taken < accepted {
			return fmt.Errorf("%d of %d messages arrived", taken, accepted)
		}
		return nil
	})
	taken, faults, selectors := s.judge.sofar()
	if len(faults) > 0 || len(put) > 0 || taken != accepted {
		t.Errorf("%d accepted, %d arrived, %d put off: %v; faults:\n%s", accepted, taken, len(put), put, strings.Join(faults, "\n"))
	}
	for _, node := range s.Nodes {
		old, fresh := 0, 0
		for selector, n := range selectors {
			switch {
			case selector == node.Name, selector == node.Name+"-ed25519":
				old += n
			case strings.HasPrefix(selector, node.Name+"-"):
				fresh += n
			}
		}
		if old == 0 || fresh == 0 {
			t.Errorf("%s signed %d times with the old keys and %d times with the new ones", node.Name, old, fresh)
		}
	}
	t.Logf("%d messages, all verified: %v", taken, selectors)
}

// awaitMail waits until so many messages have arrived.
func awaitMail(t *testing.T, ctx context.Context, s *site, n int) {
	t.Helper()
	lab.Await(t, ctx, func(context.Context) error {
		if taken, faults, _ := s.judge.sofar(); taken < n {
			return fmt.Errorf("%d messages of %d; faults %v", taken, n, faults)
		}
		return nil
	})
}
