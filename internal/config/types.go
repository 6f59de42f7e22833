package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The types below read themselves from text. Their errors say what was expected; the decoder adds what was found.

// Duration is a span of time, written 250ms, 30s, 2h or 90d.
type Duration time.Duration

var errDuration = errors.New("expected a duration such as 250ms, 30s, 2h or 90d")

// UnmarshalText reads a duration. Days are 24 hours; a bare number but 0 is refused, since its unit would be a guess.
func (d *Duration) UnmarshalText(text []byte) error {
	if days, found := strings.CutSuffix(string(text), "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > 36500 {
			return errDuration
		}
		*d = Duration(n) * Duration(24*time.Hour)
		return nil
	}
	span, err := time.ParseDuration(string(text))
	if err != nil || span < 0 {
		return errDuration
	}
	*d = Duration(span)
	return nil
}

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	switch {
	case d == 0:
		return "0"
	case d >= day && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Size is a number of bytes, written 512KiB, 64MiB or 10GiB.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// UnmarshalText reads a size. A bare number but 0 is refused.
func (s *Size) UnmarshalText(text []byte) error {
	errSize := errors.New("expected a size such as 512KiB, 64MiB or 10GiB")
	if string(text) == "0" {
		*s = 0
		return nil
	}
	for _, unit := range sizeUnits {
		number, found := strings.CutSuffix(string(text), unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/unit.bytes {
			return errSize
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return errSize
}

func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, unit := range sizeUnits {
		if int64(s)%unit.bytes == 0 {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.name
		}
	}
	return ""
}

// FileMode is the permission bits of a file, written in octal.
type FileMode fs.FileMode

// UnmarshalText reads three or four octal digits.
func (m *FileMode) UnmarshalText(text []byte) error {
	bits, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || bits > 0o777 || len(text) < 3 {
		return errors.New("expected an octal file mode such as 0660")
	}
	*m = FileMode(bits)
	return nil
}

func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// Network is a range of IP addresses.
type Network struct{ netip.Prefix }

// UnmarshalText reads 10.0.0.0/8, 2001:db8::/32 or a single address; [::1]/128, as Postfix writes it, is taken too.
func (n *Network) UnmarshalText(text []byte) error {
	plain := strings.NewReplacer("[", "", "]", "").Replace(string(text))
	if addr, err := netip.ParseAddr(plain); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		n.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(plain)
	if err != nil {
		return errors.New("expected a network such as 10.0.0.0/8 or 2001:db8::/32")
	}
	if prefix.Masked() != prefix {
		return fmt.Errorf("expected a network without host bits: %s", prefix.Masked())
	}
	n.Prefix = prefix
	return nil
}

// Endpoint is an address to listen on: a unix socket or a TCP address.
type Endpoint struct {
	Network string // unix or tcp, as package net has them
	Address string // absolute path, or host:port
}

// UnmarshalText reads unix:/path or host:port.
func (e *Endpoint) UnmarshalText(text []byte) error {
	if path, found := strings.CutPrefix(string(text), "unix:"); found {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || len(path) > 107 {
			return errors.New("expected unix: and a clean absolute path of at most 107 bytes")
		}
		*e = Endpoint{Network: "unix", Address: path}
		return nil
	}
	var address HostPort
	if address.UnmarshalText(text) != nil {
		return errors.New("expected unix:/path/of/socket or host:port")
	}
	*e = Endpoint{Network: "tcp", Address: string(address)}
	return nil
}

func (e Endpoint) String() string {
	if e.Network == "unix" {
		return "unix:" + e.Address
	}
	return e.Address
}

// Loopback tells whether nobody but this host can reach the endpoint.
func (e Endpoint) Loopback() bool { return e.Network == "unix" || HostPort(e.Address).Loopback() }

// HostPort is a TCP address: host:port, [ipv6]:port or :port for every address of the host.
type HostPort string

// UnmarshalText reads a TCP address with a numeric port. Empty is left to the key's own meaning.
func (a *HostPort) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = ""
		return nil
	}
	host, port, err := net.SplitHostPort(string(text))
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, "/ @") {
		return errors.New("expected host:port, [ipv6]:port or :port")
	}
	*a = HostPort(text)
	return nil
}

// Loopback tells whether the host part is an address, or localhost, that only this host can reach.
func (a HostPort) Loopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Path is the absolute path of a file or directory; empty where a key allows none.
type Path string

// UnmarshalText refuses relative paths: what they are relative to differs between a shell and systemd.
func (p *Path) UnmarshalText(text []byte) error {
	if len(text) > 0 && !filepath.IsAbs(string(text)) {
		return errors.New("expected an absolute path")
	}
	*p = Path(text)
	return nil
}

func (p Path) String() string { return string(p) }
