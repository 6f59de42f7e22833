package keys

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// Two nodes with one selector and different keys, and one key on two nodes: an alarm that names both, and the one that comes
// second doesn't begin to sign; with Consul without any aggregator's help.
func TestClashes(t *testing.T) {
	for _, consul := range []bool{true, false} {
		t.Run(fmt.Sprintf("consul %v", consul), func(t *testing.T) { clash(t, consul) })
	}
}

func clash(t *testing.T, consul bool) {
	ctx := lab.Within(t, 100*time.Second)
	s := startSite(t, ctx, siteOptions{nodes: 2, consul: consul, byHand: true, dkim: `, selector: "shared"`})
	first, second := s.Nodes[0], s.Nodes[1]
	keygen := func(node *lab.Node) {
		t.Helper()
		if _, err := postfleet(ctx, nil, "dkim", "keygen", "--config", node.Config, "--type", "ed25519", domain); err != nil {
			t.Fatal(err)
		}
		if err := node.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	keygen(first)
	record := s.firstRecord(t, ctx, first.Name, "shared-ed25519")
	if err := s.bind.Update(ctx, "admin", domain, fmt.Sprintf("update add %s. 1 TXT %s", record.Name, quote(record.Text))); err != nil {
		t.Fatal(err)
	}
	s.await(t, ctx, first.Name, func(states map[string]fleet.KeyState) bool { return states["shared-ed25519"] == fleet.KeyActive })
	keygen(second)
	s.awaitConflict(t, ctx, second.Name, "two keys under one selector: ")
	s.awaitConflict(t, ctx, first.Name, "two keys under one selector: ")

	// The first node's key, on the second one too: it isn't the second's to sign with, record or not.
	copied := filepath.Join(filepath.Dir(first.Dir), "..", "keys-n1", domain, "shared.ed25519.pem")
	text, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(first.Dir), "..", "keys-n2", domain, "shared.ed25519.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.awaitConflict(t, ctx, second.Name, "one key on two nodes: ")
	if out, err := postfleet(ctx, s.env(), "dkim", "activate", "--on", second.Name, "--force", domain, "shared-ed25519"); err == nil {
		t.Errorf("forced: %s", out)
	}
	keys, err := s.keys(ctx, first.Name)
	if err != nil || len(keys) != 1 || !keys[0].Signs {
		t.Errorf("the first node: %+v, %v", keys, err)
	}
}

// firstRecord waits for a node's key.
func (s *site) firstRecord(t *testing.T, ctx context.Context, node, selector string) (found fleet.Key) {
	t.Helper()
	lab.Await(t, ctx, func(ctx context.Context) error {
		keys, err := s.keys(ctx, node)
		for _, key := range keys {
			if key.Selector == selector {
				found = key
				return nil
			}
		}
		return fmt.Errorf("no key %s on %s: %w", selector, node, err)
	})
	return found
}

// awaitConflict waits until a node tells of a clash, which names both nodes; the second one's key doesn't sign.
func (s *site) awaitConflict(t *testing.T, ctx context.Context, node, words string) {
	t.Helper()
	lab.Await(t, ctx, func(ctx context.Context) error {
		keys, err := s.keys(ctx, node)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if strings.HasPrefix(key.Conflict, words) && strings.Contains(key.Conflict, "n1") && strings.Contains(key.Conflict, "n2") {
				if node == "n2" && key.Signs {
					return fmt.Errorf("%s signs", node)
				}
				return nil
			}
		}
		return fmt.Errorf("%s: %+v", node, keys)
	})
}
