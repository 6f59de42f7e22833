package life

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

// A state that could not be written at the start, or that somebody took away, is written from memory as soon as it can be:
// the keys in use go on signing.
func TestStateLost(t *testing.T) {
	t.Run("not written at the start", func(t *testing.T) {
		h := newHost(t, func(o *Options) { o.Adopt = true })
		h.put("mx1")
		blocked := filepath.Join(h.o.Dir, lockFile)
		if err := os.MkdirAll(blocked, 0o700); err != nil {
			t.Fatal(err)
		}
		h.open("{node}")
		h.expect(states{"mx1": fleet.KeyActive}, "mx1")
		if _, err := h.Step(Peers{Known: true}); err == nil {
			t.Fatal("a step without a state that can be written")
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		h.step()
		h.expect(states{"mx1": fleet.KeyActive}, "mx1")
		h.open("{node}")
		h.expect(states{"mx1": fleet.KeyActive}, "mx1")
	})
	t.Run("taken away", func(t *testing.T) {
		h := newHost(t)
		h.put("mx1")
		h.open("{node}")
		h.see("mx1-ed25519", fleet.RecordMatches)
		h.step()
		if err := os.Remove(filepath.Join(h.o.Dir, stateFile)); err != nil {
			t.Fatal(err)
		}
		h.step()
		h.expect(states{"mx1": fleet.KeyActive}, "mx1")
		if err := h.Refresh(nil); err != nil {
			t.Fatal(err)
		}
		h.expect(states{"mx1": fleet.KeyActive}, "mx1")
	})
}

// A rotation that fails leaves no key behind: with each try the next one would take another name, and all would wait.
func TestRotationFails(t *testing.T) {
	h := newHost(t, func(o *Options) { o.Kinds = []string{dkim.Ed25519, "no such type"} })
	h.put("mx1")
	h.open("{node}")
	h.see("mx1-ed25519", fleet.RecordMatches)
	h.step()
	for range 3 {
		if err := h.Rotate(domain, "anna"); err == nil {
			t.Fatal("made a key of no type")
		}
	}
	left, err := filepath.Glob(filepath.Join(h.o.Dir, domain, "*.pem"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if err := h.Refresh(nil); err != nil {
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyActive}, "mx1")
}
