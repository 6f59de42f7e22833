package hosts

import (
	"context"
	"testing"
	"time"
)

func TestFleet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	s := startSite(t, ctx)
	for range 3 {
		s.addNode(t, ctx)
	}
	s.writeInventory(t)
	began := time.Now()
	changed, _ := s.play(t, ctx, "site.yml")
	t.Logf("bare hosts to a fleet: %d changes in %s", changed, time.Since(began).Round(time.Second))
	if changed, out := s.play(t, ctx, "site.yml"); changed != 0 {
		t.Errorf("a second run changes %d things:\n%s", changed, out)
	}
}
