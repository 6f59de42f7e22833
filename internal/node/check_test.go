package node

import (
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// A key that no daemon knows yet waits for its record, and looking at it leaves no trace.
func TestCheckKeyThatWaits(t *testing.T) {
	s := newSite(t)
	lines, err := Check(s.config(t, "127.0.0.1:1", "require_dns: never, ", ""), Options{Hostname: "n1", Log: zap.NewNop()})
	if want := "does not sign for example.com with selector n1 (rsa-sha256) yet: waits for its record n1._domainkey.example.com"; err != nil || !slices.Contains(lines, want) {
		t.Errorf("%q is not among %q (%v)", want, lines, err)
	}
	if _, err := os.Stat(s.path("repository")); !os.IsNotExist(err) {
		t.Error("a repository was made")
	}
}

func TestDescribeKey(t *testing.T) {
	at := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		key  fleet.Key
		want string
	}{
		"signs":   {fleet.Key{Stage: fleet.StageActive, Signs: true}, "signs for a.example with selector n1 (rsa-sha256)"},
		"waits":   {fleet.Key{Stage: fleet.StageWaiting, Waits: "its first day, 20261201"}, "does not sign for a.example with selector n1 (rsa-sha256) yet: waits for its first day, 20261201"},
		"retires": {fleet.Key{Stage: fleet.StageRetiring, Removable: at}, "does not sign for a.example with selector n1 (rsa-sha256) any more: retiring, its record must stay until 2026-12-01T10:00:00Z"},
		"retired": {fleet.Key{Stage: fleet.StageRetired}, "does not sign for a.example with selector n1 (rsa-sha256) any more: retired"},
		"suspended": {fleet.Key{Stage: fleet.StageActive, Found: fleet.RecordFinding{Record: fleet.RecordAbsent}},
			"does not sign for a.example with selector n1 (rsa-sha256): DNS has no record n1._domainkey.a.example: receivers can't verify what this key signed"},
	} {
		t.Run(name, func(t *testing.T) {
			c.key.Domain, c.key.Selector, c.key.Algorithm, c.key.Name = "a.example", "n1", "rsa-sha256", "n1._domainkey.a.example"
			if got := describeKey(&c.key); got != c.want {
				t.Errorf("%q", got)
			}
		})
	}
}
