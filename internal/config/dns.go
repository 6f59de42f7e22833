package config

import (
	"fmt"
	"strings"
	"time"
)

// Rotation says how a node replaces its DKIM keys.
type Rotation struct {
	Every    Duration `yaml:"every"`    // age at which a key is replaced; 0: never by itself
	Selector string   `yaml:"selector"` // of new keys: {node}, {yyyymm}, {yyyymmdd}, {letter}
	KeepOld  Duration `yaml:"keep_old" min:"1s"`
	Types    []string `yaml:"types" oneof:"rsa ed25519"` // empty: as the keys in use
	Bits     int      `yaml:"bits" min:"2048" max:"8192"`
	Turn     Duration `yaml:"turn" min:"1s"` // how long a scheduled rotation may keep the other nodes waiting
}

// DNS says whom a node asks, and how it changes zones.
type DNS struct {
	Resolvers []HostPort `yaml:"resolvers"` // empty: those of /etc/resolv.conf
	Timeout   Duration   `yaml:"timeout" min:"100ms" max:"1m"`
	Update    DNSUpdate  `yaml:"update"`
}

// DNSUpdate lets a node put the records of its DKIM keys into DNS itself (RFC 2136).
type DNSUpdate struct {
	Server  HostPort `yaml:"server"` // the zones' primary; empty: records are published by hand
	Zones   []string `yaml:"zones"`  // empty: whatever zone the server has the name in
	KeyFile Path     `yaml:"key_file"`
	TTL     Duration `yaml:"ttl" min:"1s" max:"7d"`
	Remove  bool     `yaml:"remove"` // take records of retired keys out again
}

func defaultDNS() DNS {
	return DNS{Timeout: Duration(5 * time.Second), Update: DNSUpdate{TTL: Duration(time.Hour), Remove: true}}
}

func (d *DNS) check(to *decoder) {
	for i, zone := range d.Update.Zones {
		if !isDomain(strings.TrimSuffix(zone, ".")) {
			to.wrong(fmt.Sprintf("dns.update.zones[%d]", i), "expected the name of a zone, not %q", zone)
		}
	}
	if d.Update.KeyFile != "" && d.Update.Server == "" {
		to.wrong("dns.update.server", "expected the address of the zones' primary server, since dns.update.key_file is set")
	}
}

func (r *Rotation) check(to *decoder) {
	plain := strings.NewReplacer("{node}", "x", "{yyyymm}", "1", "{yyyymmdd}", "1", "{letter}", "a").Replace(r.Selector)
	switch {
	case !isDomain(plain):
		to.wrong("dkim.rotation.selector", "expected a DNS name in which {node}, {yyyymm}, {yyyymmdd} and {letter} may stand, not %q", r.Selector)
	case strings.ReplaceAll(r.Selector, "{node}", "x") == plain:
		to.wrong("dkim.rotation.selector", "expected {yyyymm}, {yyyymmdd} or {letter} in it, or each key would have the name of the one before")
	}
	if r.Every != 0 && r.Every < Duration(time.Minute) {
		to.wrong("dkim.rotation.every", "expected 0, or at least 1m, not %s", r.Every)
	}
}
