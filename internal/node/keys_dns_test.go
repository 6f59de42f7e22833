package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/postfleet/postfleet/internal/dnspublish"
	"github.com/postfleet/postfleet/internal/fleet"
)

// One resolver that has no record yet raises no alarm about a key in use, whose record was not looked at before.
func TestObserveInUse(t *testing.T) {
	has, lacks := startZone(t), startZone(t)
	n := newKeeper(t, has)
	has.put(n.keeper)
	key := n.life.Keys().Keys[0]
	key.Stage = fleet.StageActive
	r := &dnspublish.Resolver{Servers: []string{lacks.addr, has.addr}, Timeout: time.Second}
	if seen := observe(t.Context(), r, &key); seen.Record != fleet.RecordUnknown {
		t.Errorf("%s: %s", seen.Record, seen.Words)
	}
	r.Servers = r.Servers[:1]
	if seen := observe(t.Context(), r, &key); seen.Record != fleet.RecordAbsent {
		t.Errorf("%s: %s", seen.Record, seen.Words)
	}
}

// A schedule that can't begin is tried again after a while, not every second: making RSA keys takes a processor.
func TestScheduleAgain(t *testing.T) {
	z := startZone(t)
	n := newKeeper(t, z)
	z.put(n.keeper)
	n.first(t.Context())
	core, logged := observer.New(zap.WarnLevel)
	n.log = zap.New(core)
	lock := filepath.Join(n.dir, "lock")
	n.now = n.now.Add(90 * 24 * time.Hour)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	tried := func() int { return logged.FilterMessage("keys: rotate on schedule").Len() }
	for range 3 {
		n.schedule(t.Context())
	}
	if tried() != 1 {
		t.Errorf("tried %d times at once", tried())
	}
	n.now = n.now.Add(scheduleAgain)
	n.schedule(t.Context())
	if tried() != 2 {
		t.Errorf("tried %d times, expected a second one", tried())
	}
}

// A node doesn't take the record of its retired key out of DNS while another one has a key there.
func TestClaimed(t *testing.T) {
	key := fleet.Key{Node: "n1", Domain: "example.com", Selector: "shared"}
	own, other := key.Claim(), key.Claim()
	other.Node = "n2"
	elsewhere := other
	elsewhere.Domain = "example.net"
	if claimed([]fleet.Claim{own, elsewhere}, &key) {
		t.Error("claimed by nobody else")
	}
	if !claimed([]fleet.Claim{own, other}, &key) {
		t.Error("the claim of n2 doesn't count")
	}
}
