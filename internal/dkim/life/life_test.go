package life

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

const domain = "example.com"

// host is a node's disk and clock.
type host struct {
	t   *testing.T
	dir string
	now time.Time
	o   Options
	*Life
}

func newHost(t *testing.T, change ...func(*Options)) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	h.o = Options{Dir: filepath.Join(h.dir, "state"), Node: "mx1", Next: "{node}-{yyyymm}{letter}", KeepOld: time.Hour, Kinds: []string{dkim.Ed25519},
		Now: func() time.Time { return h.now }}
	for _, one := range change {
		one(&h.o)
	}
	return h
}

// put makes a key of the administrator.
func (h *host) put(selector string) {
	h.t.Helper()
	if _, err := dkim.Generate(filepath.Join(h.dir, "admin"), domain, selector, dkim.Ed25519, 0); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) admin(selector string) *dkim.Keyring {
	h.t.Helper()
	template, err := dkim.ParseTemplate(selector, "mx1")
	if err != nil {
		h.t.Fatal(err)
	}
	ring, err := dkim.LoadKeys(filepath.Join(h.dir, "admin"), template)
	if err != nil {
		h.t.Fatal(err)
	}
	return ring
}

// open is a daemon's start.
func (h *host) open(selector string) {
	h.t.Helper()
	var err error
	if h.Life, err = Open(h.o, h.admin(selector)); err != nil {
		h.t.Fatal(err)
	}
}

// see has the resolver say something of a key.
func (h *host) see(selector string, record fleet.KeyRecord) {
	h.t.Helper()
	for _, key := range h.Keys().Keys {
		if key.Selector == selector {
			if err := h.Observe([]Observation{{Name: key.Name, Text: key.Text, Record: record, Words: "words"}}); err != nil {
				h.t.Fatal(err)
			}
			return
		}
	}
	h.t.Fatalf("no key %s", selector)
}

func (h *host) step(peers ...fleet.Claim) {
	h.t.Helper()
	if _, err := h.Step(Peers{Known: true, Claims: peers}); err != nil {
		h.t.Fatal(err)
	}
}

// expect compares the states of all keys, and the keys that sign.
func (h *host) expect(want map[string]fleet.KeyState, signs ...string) {
	h.t.Helper()
	got := map[string]fleet.KeyState{}
	for _, key := range h.Keys().Keys {
		got[strings.TrimSuffix(key.Selector, "-ed25519")] = key.State
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("states (-want +got):\n%s", diff)
	}
	var ring []string
	for _, key := range h.Keyring().Keys() {
		ring = append(ring, strings.TrimSuffix(key.Selector, "-ed25519"))
	}
	if !slices.Equal(ring, signs) {
		h.t.Errorf("signs with %q, expected %q", ring, signs)
	}
}

type states = map[string]fleet.KeyState

// A key's life from its making to its end, with every state on the way.
func TestLifeOfAKey(t *testing.T) {
	h := newHost(t)
	h.put("mx1")
	h.open("{node}")
	h.step()
	h.expect(states{"mx1": fleet.KeyGenerated})
	h.see("mx1-ed25519", fleet.RecordUnknown)
	h.step()
	h.expect(states{"mx1": fleet.KeyGenerated})
	h.see("mx1-ed25519", fleet.RecordMatches)
	h.expect(states{"mx1": fleet.KeyPublished})
	h.step()
	h.expect(states{"mx1": fleet.KeyActive}, "mx1")

	if err := h.Rotate(domain, "anna"); err != nil {
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyGenerated}, "mx1")
	if err := h.Rotate(domain, "anna"); fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("a second rotation: %v", err)
	}
	for _, record := range []fleet.KeyRecord{fleet.RecordAbsent, fleet.RecordDiffers, fleet.RecordUnknown} {
		h.see("mx1-202611a-ed25519", record)
		h.step()
	}
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyMismatch}, "mx1")
	h.see("mx1-202611a-ed25519", fleet.RecordMatches)
	h.step()
	h.expect(states{"mx1": fleet.KeyRetiring, "mx1-202611a": fleet.KeyActive}, "mx1-202611a")
	h.now = h.now.Add(59 * time.Minute)
	h.step()
	h.expect(states{"mx1": fleet.KeyRetiring, "mx1-202611a": fleet.KeyActive}, "mx1-202611a")
	h.now = h.now.Add(time.Minute)
	h.step()
	h.expect(states{"mx1": fleet.KeyRetired, "mx1-202611a": fleet.KeyActive}, "mx1-202611a")

	// What DNS says of a key in use is an alarm, and it signs on.
	h.see("mx1-202611a-ed25519", fleet.RecordAbsent)
	h.step()
	h.expect(states{"mx1": fleet.KeyRetired, "mx1-202611a": fleet.KeyMissing}, "mx1-202611a")
	if alarm := h.Keys().Keys[1].Alarm(); !strings.Contains(alarm, "DNS has no record mx1-202611a-ed25519._domainkey.example.com") {
		t.Errorf("alarm %q", alarm)
	}
	h.see("mx1-202611a-ed25519", fleet.RecordUnknown)
	h.open("{node}") // and after a restart
	h.expect(states{"mx1": fleet.KeyRetired, "mx1-202611a": fleet.KeyMissing}, "mx1-202611a")
	if h.Keys().History[0].Domain != domain || len(h.Keys().History) < 7 {
		t.Errorf("history: %+v", h.Keys().History)
	}
}

func TestRetireAndActivate(t *testing.T) {
	h := newHost(t)
	h.put("mx1")
	h.open("{node}")
	h.see("mx1-ed25519", fleet.RecordMatches)
	h.step()
	if err := h.Retire(domain, "mx1-ed25519", false, "anna"); err == nil || !strings.Contains(err.Error(), "is the last key that signs") {
		t.Errorf("the last key: %v", err)
	}
	if err := h.Rotate(domain, "anna"); err != nil {
		t.Fatal(err)
	}
	if err := h.Activate(domain, "mx1-202611a-ed25519", false, "anna"); err == nil || !strings.Contains(err.Error(), "was not seen") {
		t.Errorf("without its record: %v", err)
	}
	if err := h.Activate(domain, "mx1-202611a-ed25519", true, "anna"); err != nil {
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyRetiring, "mx1-202611a": fleet.KeyActive}, "mx1-202611a")
	if key := h.Keys().Keys[1]; key.Forced != "anna" {
		t.Errorf("forced by %q", key.Forced)
	}
	if err := h.Activate(domain, "mx1-ed25519", false, "anna"); err != nil { // back
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyRetiring}, "mx1")
	h.now = h.now.Add(2 * time.Hour)
	h.step()
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyRetired}, "mx1")
	if left, err := filepath.Glob(filepath.Join(h.o.Dir, domain, "*")); err != nil || len(left) > 0 {
		t.Errorf("the private half of a retired key is left: %v, %v", left, err)
	}
	if err := h.Rotate(domain, "anna"); err != nil {
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyRetired, "mx1-202611b": fleet.KeyGenerated}, "mx1")
	if err := h.Retire(domain, "mx1-202611b-ed25519", false, "anna"); err != nil {
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyRetired, "mx1-202611b": fleet.KeyRetired}, "mx1")
	for _, err := range []error{h.Rotate("example.net", ""), h.Activate(domain, "none", true, ""), h.Retire(domain, "none", true, "")} {
		if fleet.CodeOf(err) != fleet.CodeNotFound {
			t.Errorf("got %v", err)
		}
	}
}

// Who comes from a version without lives goes on signing; a fresh host waits; never waits for nothing; always stops.
func TestRequirements(t *testing.T) {
	t.Run("adopted", func(t *testing.T) {
		h := newHost(t, func(o *Options) { o.Adopt = true })
		for _, selector := range []string{"mx1-20261001", "mx1-20261101", "mx1-20261201"} {
			h.put(selector)
		}
		h.open("{node}-{date}")
		h.expect(states{"mx1-20261001": fleet.KeyRetired, "mx1-20261101": fleet.KeyActive, "mx1-20261201": fleet.KeyGenerated}, "mx1-20261101")
		h.see("mx1-20261201-ed25519", fleet.RecordMatches)
		h.step()
		h.expect(states{"mx1-20261001": fleet.KeyRetired, "mx1-20261101": fleet.KeyActive, "mx1-20261201": fleet.KeyPublished}, "mx1-20261101")
		h.now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
		h.step()
		h.expect(states{"mx1-20261001": fleet.KeyRetired, "mx1-20261101": fleet.KeyRetiring, "mx1-20261201": fleet.KeyActive}, "mx1-20261201")
	})
	t.Run("never", func(t *testing.T) {
		h := newHost(t, func(o *Options) { o.Require = RequireNever })
		h.put("mx1-20261101")
		h.put("mx1-20261201")
		h.open("{node}-{date}")
		h.expect(states{"mx1-20261101": fleet.KeyActive, "mx1-20261201": fleet.KeyGenerated}, "mx1-20261101")
	})
	t.Run("always", func(t *testing.T) {
		h := newHost(t, func(o *Options) { o.Require = RequireAlways })
		h.put("mx1")
		h.open("{node}")
		h.see("mx1-ed25519", fleet.RecordMatches)
		h.step()
		h.see("mx1-ed25519", fleet.RecordUnknown)
		h.step()
		h.expect(states{"mx1": fleet.KeyActive}, "mx1")
		h.see("mx1-ed25519", fleet.RecordAbsent)
		h.step()
		h.expect(states{"mx1": fleet.KeyMissing})
		if !h.Keyring().Has(domain) {
			t.Error("the domain's mail would leave unsigned unnoticed")
		}
		h.see("mx1-ed25519", fleet.RecordMatches)
		h.step()
		h.expect(states{"mx1": fleet.KeyActive}, "mx1")
	})
	t.Run("another selector in the configuration", func(t *testing.T) {
		h := newHost(t)
		h.put("mx1")
		h.put("new")
		h.open("{node}")
		h.see("mx1-ed25519", fleet.RecordMatches)
		h.step()
		if err := h.Configure(h.o, h.admin("new")); err != nil {
			t.Fatal(err)
		}
		h.step()
		h.expect(states{"mx1": fleet.KeyActive, "new": fleet.KeyGenerated}, "mx1")
		h.see("new-ed25519", fleet.RecordMatches)
		h.step()
		h.expect(states{"mx1": fleet.KeyRetiring, "new": fleet.KeyActive}, "new")
	})
	t.Run("a file that is gone", func(t *testing.T) {
		h := newHost(t)
		h.put("mx1")
		h.open("{node}")
		if err := os.RemoveAll(filepath.Join(h.dir, "admin")); err != nil {
			t.Fatal(err)
		}
		if err := h.Configure(h.o, h.admin("{node}")); err != nil {
			t.Fatal(err)
		}
		h.expect(states{})
	})
}

// Of two nodes that clash the second doesn't begin; one that signs goes on, with an alarm.
func TestClash(t *testing.T) {
	h := newHost(t)
	h.put("mx1")
	h.open("{node}")
	mine := h.Keys().Keys[0].Claim()
	h.see("mx1-ed25519", fleet.RecordMatches)
	other := mine
	other.Node, other.Fingerprint, other.Made = "mx2", "other", mine.Made.Add(-time.Second)
	h.step(other)
	h.expect(states{"mx1": fleet.KeyPublished})
	if key := h.Keys().Keys[0]; !strings.Contains(key.Conflict, "mx1") || !strings.Contains(key.Conflict, "mx2") || key.Alarm() != key.Conflict {
		t.Errorf("conflict %q, alarm %q", key.Conflict, key.Alarm())
	}
	if err := h.Activate(domain, "mx1-ed25519", true, "anna"); err == nil {
		t.Error("forced")
	}
	other.Made = mine.Made.Add(time.Second) // now it is the other's that comes second
	h.step(other)
	h.expect(states{"mx1": fleet.KeyActive}, "mx1")
	same := mine
	same.Node, same.Domain, same.Selector, same.Signs = "mx3", "example.net", "x", true
	h.step(same)
	h.expect(states{"mx1": fleet.KeyActive}, "mx1")
	if conflict := h.Keys().Keys[0].Conflict; !strings.HasPrefix(conflict, "one key on two nodes: mx1 has it as mx1-ed25519._domainkey.example.com, mx3") {
		t.Errorf("conflict %q", conflict)
	}
	if _, err := h.Step(Peers{Why: "Consul is away"}); err != nil || h.Keys().Keys[0].Conflict == "" {
		t.Errorf("an alarm went away because nobody could be asked: %v", err)
	}
	h.step()
	if conflict := h.Keys().Keys[0].Conflict; conflict != "" {
		t.Errorf("conflict %q", conflict)
	}
	if err := h.Rotate(domain, "anna"); err != nil {
		t.Fatal(err)
	}
	h.see("mx1-202611a-ed25519", fleet.RecordMatches)
	if _, err := h.Step(Peers{Why: "Consul is away"}); err != nil {
		t.Fatal(err)
	}
	h.expect(states{"mx1": fleet.KeyActive, "mx1-202611a": fleet.KeyPublished}, "mx1")
	if waits := h.Keys().Keys[1].Waits; !strings.Contains(waits, "Consul is away") {
		t.Errorf("waits for %q", waits)
	}
}

func TestDue(t *testing.T) {
	h := newHost(t, func(o *Options) { o.Every = 24 * time.Hour })
	h.put("mx1")
	h.open("{node}")
	h.see("mx1-ed25519", fleet.RecordMatches)
	h.step()
	if due := h.Due(); len(due) > 0 || !h.Keys().Next.Equal(h.now.Add(24*time.Hour)) {
		t.Errorf("due %q, next %s", due, h.Keys().Next)
	}
	h.now = h.now.Add(24 * time.Hour)
	if due := h.Due(); !slices.Equal(due, []string{domain}) {
		t.Errorf("due %q", due)
	}
	if err := h.Rotate(domain, "schedule"); err != nil {
		t.Fatal(err)
	}
	if due := h.Due(); len(due) > 0 || !h.OwnWaits() {
		t.Errorf("due %q while the next key waits", due)
	}
}
