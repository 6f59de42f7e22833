package mta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Routing is what Postfix's configuration says about where outgoing mail goes.
type Routing struct {
	Relayhost        string
	DefaultTransport string
	// SenderRelayhosts and SenderTransports are sender_dependent_relayhost_maps and sender_dependent_default_transport_maps.
	SenderRelayhosts []string
	SenderTransports []string
	IPv6             bool
	Services         []string // those asked for that master.cf has
	Listeners        []string // services of type inet
	Fallback         string   // smtp_fallback_relay of the service asked for
}

// Routing reads the configuration. services are names of services of type unix; the first of them has the fallback.
func (p *Postfix) Routing(ctx context.Context, services ...string) (*Routing, error) {
	text, err := p.postconf(ctx, "-x", "relayhost", "default_transport", "sender_dependent_relayhost_maps",
		"sender_dependent_default_transport_maps", "inet_protocols")
	if err != nil {
		return nil, err
	}
	set := parameters(text)
	protocols := words(set["inet_protocols"])
	r := &Routing{
		Relayhost:        set["relayhost"],
		DefaultTransport: set["default_transport"],
		SenderRelayhosts: words(set["sender_dependent_relayhost_maps"]),
		SenderTransports: words(set["sender_dependent_default_transport_maps"]),
		IPv6:             slices.Contains(protocols, "all") || slices.Contains(protocols, "ipv6"),
	}
	if text, err = p.postconf(ctx, "-M"); err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		switch fields := strings.Fields(line); {
		case len(fields) < 2:
		case fields[1] == "inet":
			r.Listeners = append(r.Listeners, fields[0])
		case fields[1] == "unix" && slices.Contains(services, fields[0]):
			r.Services = append(r.Services, fields[0])
		}
	}
	if len(services) == 0 || !slices.Contains(r.Services, services[0]) {
		return r, nil
	}
	r.Fallback, err = p.Override(ctx, services[0]+"/unix", "smtp_fallback_relay")
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Override is a parameter as a service of master.cf, NAME/TYPE, has it for itself; empty also where it has not.
func (p *Postfix) Override(ctx context.Context, service, parameter string) (string, error) {
	key := service + "/" + parameter
	text, err := p.postconf(ctx, "-P", key)
	return parameters(text)[key], err
}

// parameters reads "name = value" lines.
func parameters(text string) map[string]string {
	set := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(line, "="); found {
			set[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return set
}

// words cuts a list as Postfix does; what stands in braces stays together.
func words(text string) (list []string) {
	depth, begin := 0, -1
	for i, c := range text + " " {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		separates := depth <= 0 && strings.ContainsRune(", \t\r\n", c)
		if separates && begin >= 0 {
			list, begin = append(list, text[begin:i]), -1
		} else if !separates && begin < 0 {
			begin = i
		}
	}
	return list
}

// ConfigChanged is when main.cf or master.cf was last written; zero where neither can be read.
func (p *Postfix) ConfigChanged() (last time.Time) {
	for _, name := range []string{"main.cf", "master.cf"} {
		if info, err := os.Stat(filepath.Join(p.o.ConfigDir, name)); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// Lookup asks tables for keys, as postmap(1) does with -q: table by table for the first key, then for the next, until one
// has it. An empty result that was found is told from none.
func (p *Postfix) Lookup(ctx context.Context, tables, keys []string) (result string, found bool, err error) {
	for _, key := range keys {
		for _, table := range tables {
			result, found, err = p.lookup(ctx, table, key)
			if found || err != nil {
				return result, found, err
			}
		}
	}
	return "", false, nil
}

func (p *Postfix) lookup(ctx context.Context, table, key string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, postconfTimeout)
	defer cancel()
	// A proxymap server reads what smtpd's chroot hides; there is none around this process, which can't ask it either.
	cmd := exec.CommandContext(ctx, "postmap", "-c", p.o.ConfigDir, "-q", key, strings.TrimPrefix(table, "proxy:"))
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimRight(string(out), "\n"), true, nil
	}
	said := strings.TrimSpace(stderr.String())
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && !strings.Contains(said, "fatal: ") && !strings.Contains(said, "error: ") {
		return "", false, nil // not found
	}
	return "", false, fmt.Errorf("postmap -q: %s: %w: %s", table, err, firstLine(said))
}
