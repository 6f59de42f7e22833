package lab

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A machine boots, runs commands, reboots, and is gone with the lab.
func TestMachine(t *testing.T) {
	l := ForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cache := os.Getenv("CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "postfleet")
	}
	root, err := DebianRoot(ctx, filepath.Join(cache, "hosts"), "bookworm")
	if err != nil {
		t.Fatal(err)
	}
	network, err := l.StartNetwork(ctx, netip.MustParsePrefix("10.78.0.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	key := l.Path("key")
	if _, err := l.Run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key); err != nil {
		t.Fatal(err)
	}
	m, err := network.StartMachine(ctx, MachineOptions{Name: "one.example", IP: "10.78.0.5", Base: root, Key: key, Mirror: "http://10.78.0.1/"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(ctx, "echo kept >/root/file"); err != nil {
		t.Fatal(err)
	}
	if err := m.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := m.Run(ctx, "cat /root/file; hostname")
	if err != nil || string(out) != "kept\none.example\n" {
		t.Errorf("%q %v", out, err)
	}
}
