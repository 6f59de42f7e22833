package dkim

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Keyring holds the keys of this node, by domain. It doesn't change: a reload loads another one.
type Keyring struct {
	domains map[string][]generation
}

// generation is the keys that are used from one day on; without {date} in the selector there is just one.
type generation struct {
	from string // in dateLayout, or empty
	keys []*Key // RSA first: receivers that look at one signature only can check it
}

// keySuffixes are the ends of key file names. RSA comes first, see generation.
var keySuffixes = []struct{ suffix, kind string }{{".rsa.pem", RSA}, {".ed25519.pem", Ed25519}}

// LoadKeys reads DIR/DOMAIN/SELECTOR.rsa.pem and DIR/DOMAIN/SELECTOR.ed25519.pem for every selector that the template
// makes; the keys of other nodes may lie beside them. Each key must make a signature that go-msgauth verifies with the record
// that [Key.Record] gives. One bad key is an error that names its file: a node must not start to send unsigned, or wrongly
// signed, mail unnoticed. A directory that doesn't exist is an empty keyring.
func LoadKeys(dir string, template Template) (*Keyring, error) {
	ring := &Keyring{domains: map[string][]generation{}}
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return ring, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read key directory: %w", err)
	}
	for _, entry := range entries {
		domain := entry.Name()
		if checkDomain(domain) != nil {
			continue // lost+found, backups, …: not a domain
		}
		if info, err := os.Stat(filepath.Join(dir, domain)); err != nil || !info.IsDir() {
			continue
		}
		generations, err := loadDomain(filepath.Join(dir, domain), domain, template)
		if err != nil {
			return nil, fmt.Errorf("load DKIM key: %w", err)
		}
		if len(generations) > 0 {
			ring.domains[domain] = generations
		}
	}
	return ring, nil
}

// NewKeyring makes a keyring of keys that all sign now. The domains in known should be signed although no key of them does.
func NewKeyring(keys []*Key, known []string) *Keyring {
	ring := &Keyring{domains: map[string][]generation{}}
	for _, domain := range known {
		ring.domains[domain] = []generation{{}}
	}
	for _, form := range keySuffixes {
		for _, key := range keys {
			if key.Kind != form.kind {
				continue
			}
			if len(ring.domains[key.Domain]) == 0 {
				ring.domains[key.Domain] = []generation{{}}
			}
			only := &ring.domains[key.Domain][0]
			only.keys = append(only.keys, key)
		}
	}
	return ring
}

// From is the first day of a key's use, 20060102; empty where its selector has none.
func (r *Keyring) From(key *Key) string {
	for _, g := range r.domains[key.Domain] {
		if slices.Contains(g.keys, key) {
			return g.from
		}
	}
	return ""
}

func loadDomain(dir, domain string, template Template) ([]generation, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	byDay := map[string][]*Key{}
	for _, form := range keySuffixes {
		for _, entry := range entries {
			base, ok := strings.CutSuffix(entry.Name(), form.suffix)
			if !ok {
				continue
			}
			from, ok := template.match(base)
			if !ok {
				continue
			}
			key, err := readKey(filepath.Join(dir, entry.Name()), form.kind)
			if err != nil {
				return nil, err
			}
			key.Domain, key.Selector = domain, selectorOf(base, form.kind)
			if err := key.prove(); err != nil {
				return nil, err
			}
			byDay[from] = append(byDay[from], key)
		}
	}
	var generations []generation
	for from, keys := range byDay {
		generations = append(generations, generation{from, keys})
	}
	slices.SortFunc(generations, func(a, b generation) int { return strings.Compare(a.from, b.from) })
	return generations, nil
}

// Signing is the keys that sign for a domain at a time: those with the latest day that has come. None: the domain can't be
// signed.
func (r *Keyring) Signing(domain string, now time.Time) []*Key {
	generations := r.domains[domain]
	if len(generations) == 1 && generations[0].from == "" {
		return generations[0].keys
	}
	today := now.UTC().Format(dateLayout)
	for _, g := range slices.Backward(generations) {
		if g.from <= today {
			return g.keys
		}
	}
	return nil
}

// Has tells whether the keyring has a key for a domain, used today or from a later day on.
func (r *Keyring) Has(domain string) bool { return len(r.domains[domain]) > 0 }

// Domains are the domains that have keys, sorted.
func (r *Keyring) Domains() []string {
	names := make([]string, 0, len(r.domains))
	for name := range r.domains {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Keys are all keys: by domain, then by day, RSA first.
func (r *Keyring) Keys() []*Key {
	var keys []*Key
	for _, domain := range r.Domains() {
		for _, g := range r.domains[domain] {
			keys = append(keys, g.keys...)
		}
	}
	return keys
}

// Selectors are the keys that sign at a time, as node facts show them.
func (r *Keyring) Selectors(now time.Time) []fleet.Selector {
	var selectors []fleet.Selector
	for _, domain := range r.Domains() {
		for _, key := range r.Signing(domain, now) {
			selectors = append(selectors, key.Describe())
		}
	}
	return selectors
}
