package relay

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestBookKeepsAddresses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gates.json")
	b, err := openBook(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.enter([]string{"mx2", "mx1", "Not a node", ""}); err != nil {
		t.Fatal(err)
	}
	first, _ := b.address("mx2")
	if _, known := b.address("Not a node"); known || b.node(first.String()) != "mx2" {
		t.Errorf("%v is %q", first, b.node(first.String()))
	}
	again, err := openBook(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.enter([]string{"mx0", "mx1"}); err != nil {
		t.Fatal(err)
	}
	if kept, _ := again.address("mx2"); kept != first || again.node(first.String()) != "mx2" {
		t.Errorf("after a restart mx2 has %v, before %v", kept, first)
	}
	for addr, want := range map[string]string{"127.43.0.1": fleet.AnyCarrier, "127.43.0.2": "", "127.43.9.9": "", "192.0.2.1": "", "mx2": ""} {
		if got := again.node(addr); got != want {
			t.Errorf("%s is %q, want %q", addr, got, want)
		}
	}
}

func TestBookIsBounded(t *testing.T) {
	b := &book{file: filepath.Join(t.TempDir(), "gates.json"), nodes: map[string]netip.Addr{}, addrs: map[netip.Addr]string{}, next: firstMember}
	var names []string
	for i := range maxBook + 10 {
		names = append(names, fmt.Sprintf("n%d", i))
	}
	if err := b.enter(names); err != nil {
		t.Fatal(err)
	}
	if len(b.nodes) != maxBook || len(b.addrs) != maxBook {
		t.Errorf("%d nodes with %d addresses", len(b.nodes), len(b.addrs))
	}
}

func TestBadBooks(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no JSON", "{", "unexpected end of JSON"},
		{"an address twice", `{"a":"127.43.0.10","b":"127.43.0.10"}`, "not an address of its own"},
		{"an address elsewhere", `{"a":"192.0.2.1"}`, "not an address of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gates.json")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openBook(file); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("can't be written", func(t *testing.T) {
		b, err := openBook(filepath.Join(t.TempDir(), "missing", "gates.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.enter([]string{"a"}); err == nil {
			t.Fatal("no error")
		}
		if _, known := b.address("a"); known {
			t.Error("an address that is not on disk was given away")
		}
	})
}
