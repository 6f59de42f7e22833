package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"sync"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The gate's addresses. Postfix knows the first by its configuration; members get those from firstMember on.
var (
	network     = netip.MustParsePrefix("127.43.0.0/16")
	anyCarrier  = netip.AddrFrom4([4]byte{127, 43, 0, 1})
	nobody      = netip.AddrFrom4([4]byte{127, 43, 0, 2}) // has no carrier behind it
	firstMember = netip.AddrFrom4([4]byte{127, 43, 0, 10})
)

// maxBook bounds the book: a fleet that has seen more nodes than that has something wrong with their names.
const maxBook = 10_000

// book gives each member of the fleet a loopback address, for good: the log of a year ago still tells where a mail went.
// It is safe for concurrent use.
type book struct {
	file string

	mu    sync.RWMutex
	nodes map[string]netip.Addr
	addrs map[netip.Addr]string
	next  netip.Addr // all before it are taken
}

// openBook reads the file; one that isn't there is an empty book. A file that can't be used is an error, since a second book
// would give other members the addresses that the log has.
func openBook(file string) (*book, error) {
	b := &book{file: file, nodes: map[string]netip.Addr{}, addrs: map[netip.Addr]string{}, next: firstMember}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil
	case err != nil:
		return nil, fmt.Errorf("read gate addresses: %w", err)
	}
	if err := json.Unmarshal(text, &b.nodes); err != nil {
		return nil, fmt.Errorf("read gate addresses: %s: %w", file, err)
	}
	for name, addr := range b.nodes {
		if before, twice := b.addrs[addr]; twice || !network.Contains(addr) {
			return nil, fmt.Errorf("read gate addresses: %s: %s of %s is not an address of its own (%s)", file, addr, name, before)
		}
		b.addrs[addr] = name
	}
	return b, nil
}

// address is a member's, if it has one.
func (b *book) address(node string) (netip.Addr, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	addr, found := b.nodes[node]
	return addr, found
}

// enter gives addresses to the members that have none, and keeps them on disk before anybody hears of them.
func (b *book) enter(nodes []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var fresh []string
	for _, node := range nodes {
		if _, found := b.nodes[node]; !found && len(b.nodes) < maxBook && fleet.IsNodeName(node) {
			b.nodes[node] = b.free()
			b.addrs[b.nodes[node]] = node
			fresh = append(fresh, node)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := b.save(); err != nil {
		b.next = firstMember
		for _, node := range fresh {
			delete(b.addrs, b.nodes[node])
			delete(b.nodes, node)
		}
		return fmt.Errorf("keep gate addresses: %w", err)
	}
	return nil
}

// free is the first address that nobody has; those that end in 0 or 255 are left out, as they look like a network's.
func (b *book) free() netip.Addr {
	for {
		addr, last := b.next, b.next.As4()[3]
		b.next = addr.Next()
		if _, taken := b.addrs[addr]; !taken && last != 0 && last != 255 {
			return addr
		}
	}
}

func (b *book) save() error {
	text, err := json.MarshalIndent(b.nodes, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(b.file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), b.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// node tells which member an address is of; fleet.AnyCarrier for the one where the gate chooses, empty for any other.
func (b *book) node(addr string) string {
	parsed, err := netip.ParseAddr(addr)
	if err != nil || !network.Contains(parsed) {
		return ""
	}
	if parsed == anyCarrier {
		return fleet.AnyCarrier
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.addrs[parsed]
}
