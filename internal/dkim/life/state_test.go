package life

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

// A kill between the making of a key and the state that names it leaves a file; the rotation goes on with it. Half a file is
// made anew.
func TestCutOffRotation(t *testing.T) {
	h := newHost(t, func(o *Options) { o.Kinds = []string{dkim.Ed25519, dkim.RSA} })
	h.put("mx1")
	h.open("{node}")
	h.see("mx1-ed25519", fleet.RecordMatches)
	h.step()
	if _, err := dkim.Generate(h.o.Dir, domain, "mx1-202611a", dkim.Ed25519, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.o.Dir, domain, "mx1-202611a.rsa.pem"), []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.o.Dir, stateFile+".12345"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.open("{node}")
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyGenerated}, "mx1")
	if err := h.Rotate(domain, "anna"); err != nil {
		t.Fatal(err)
	}
	keys := h.Keys().Keys
	if len(keys) != 3 || keys[1].Selector == keys[2].Selector {
		t.Errorf("keys: %+v", keys)
	}
	h.see("mx1-202611a-ed25519", fleet.RecordMatches)
	h.step()
	if ring := h.Keyring().Keys(); len(ring) != 1 || ring[0].Selector != "mx1-ed25519" { // not before both records are there
		t.Errorf("signs with %+v", ring)
	}
	h.see("mx1-202611a", fleet.RecordMatches)
	h.step()
	if ring := h.Keyring().Keys(); len(ring) != 2 || ring[0].Kind != dkim.RSA || ring[1].Kind != dkim.Ed25519 {
		t.Errorf("signs with %+v", ring)
	}
	if left, err := filepath.Glob(filepath.Join(h.o.Dir, stateFile+".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What can't be written doesn't happen, and what signs goes on.
func TestStateThatCannotBeKept(t *testing.T) {
	h := newHost(t)
	h.put("mx1")
	h.open("{node}")
	h.see("mx1-ed25519", fleet.RecordMatches)
	h.step()
	held := h.o.Dir + ".away"
	if err := os.Rename(h.o.Dir, held); err != nil {
		t.Fatal(err)
	}
	if err := h.Rotate(domain, "anna"); err == nil {
		t.Error("rotated without a disk")
	}
	h.expect(states{"mx1": fleet.KeyActive}, "mx1")
	if h.Keys().Failure == "" {
		t.Error("nobody is told")
	}
	if err := os.Rename(held, h.o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := h.Rotate(domain, "anna"); err != nil || h.Keys().Failure != "" {
		t.Errorf("%v, %q", err, h.Keys().Failure)
	}
}

func TestStateThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"broken": {"{", "put a copy back"}, "of a later version": {`{"version": 9}`, "has version 9"}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.put("mx1")
			if err := os.MkdirAll(h.o.Dir, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(h.o.Dir, stateFile), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(h.o, h.admin("{node}")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A command beside the daemon changes the same state; the daemon notices.
func TestTwoAtOnce(t *testing.T) {
	h := newHost(t)
	h.put("mx1")
	h.open("{node}")
	command, err := Open(h.o, h.admin("{node}"))
	if err != nil {
		t.Fatal(err)
	}
	if h.Changed() {
		t.Error("changed by opening it")
	}
	if err := command.Activate(domain, "mx1-ed25519", true, "anna"); err != nil {
		t.Fatal(err)
	}
	if !h.Changed() {
		t.Error("not noticed")
	}
	if err := h.Refresh(nil); err != nil {
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyActive}, "mx1")
}
