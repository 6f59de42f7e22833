package lab

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// BindOptions describe a name server.
type BindOptions struct {
	Name string
	// Zones are the zones that it is the primary of: lines of a zone file without SOA and NS, which are added. In its names a
	// missing dot at the end means that they are below the zone.
	Zones map[string]string
	// Keys are names of TSIG keys that it knows.
	Keys []string
	// Policy is BIND's update-policy of a zone, such as "grant node1 zonesub TXT;". A zone without one takes no updates.
	Policy map[string]string
	Addr   string // HOST:PORT; a free port of 127.0.0.1 when empty
}

// Bind is a running BIND name server, authoritative for its zones and for nothing else: other names are refused, so that no
// test asks the world.
type Bind struct {
	Addr string // HOST:PORT, UDP and TCP
	// KeyFiles are the TSIG keys by name, as tsig-keygen writes them.
	KeyFiles map[string]string

	*Process
	lab  *Lab
	name string
	conf string
}

// StartBind runs named(8).
func (l *Lab) StartBind(ctx context.Context, o BindOptions) (*Bind, error) {
	b := &Bind{Addr: o.Addr, KeyFiles: map[string]string{}, lab: l, name: "bind-" + o.Name}
	var err error
	if b.Addr == "" {
		if b.Addr, err = FreeAddr("127.0.0.1"); err != nil {
			return nil, err
		}
	}
	dir, err := l.Mkdir(b.name)
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(b.Addr, ":")
	var conf strings.Builder
	fmt.Fprintf(&conf, `options { directory %q; pid-file none; session-keyfile none; listen-on port %s { %s; }; listen-on-v6 { none; };
	recursion no; allow-query { any; }; dnssec-validation no; empty-zones-enable no; notify no; querylog no; };
controls { };
`, dir, port, host)
	for _, name := range o.Keys {
		if err := b.addKey(&conf, name); err != nil {
			return nil, err
		}
	}
	for _, zone := range slices.Sorted(maps.Keys(o.Zones)) {
		file, err := l.WriteFile(filepath.Join(b.name, zone+".zone"), zoneText(o.Zones[zone]), 0o644)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&conf, "zone %q { type primary; file %q;", zone, file)
		if policy := o.Policy[zone]; policy != "" {
			fmt.Fprintf(&conf, " update-policy { %s };", policy)
		}
		conf.WriteString(" };\n")
	}
	if b.conf, err = l.WriteFile(filepath.Join(b.name, "named.conf"), []byte(conf.String()), 0o600); err != nil {
		return nil, err
	}
	return b, b.Start(ctx)
}

func zoneText(records string) []byte {
	return []byte("$TTL 1\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n" + records + "\n")
}

func (b *Bind) addKey(conf *strings.Builder, name string) error {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	text := fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", name, base64.StdEncoding.EncodeToString(secret))
	file, err := b.lab.WriteFile(filepath.Join(b.name, name+".key"), []byte(text), 0o600)
	b.KeyFiles[name] = file
	conf.WriteString(text)
	return err
}

// Start runs the server, again after Stop or Kill, with the zones as updates left them, and waits until it answers.
func (b *Bind) Start(ctx context.Context) error {
	program, err := exec.LookPath("named")
	if err != nil {
		program = "/usr/sbin/named" // not on the PATH of ordinary users
	}
	if b.Process, err = b.lab.Start(b.name+"/named", program, "-g", "-n", "1", "-c", b.conf); err != nil {
		return err
	}
	return b.Ready(ctx, func(ctx context.Context) error {
		_, err := b.ask(ctx, ".", dns.TypeNS)
		return err
	})
}

func (b *Bind) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), kind)
	reply, _, err := (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, question, b.Addr)
	return reply, err
}

// TXT are the texts that the server has at a name now, each joined.
func (b *Bind) TXT(ctx context.Context, name string) ([]string, error) {
	reply, err := b.ask(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, fmt.Errorf("ask BIND for %s: %w", name, err)
	}
	var texts []string
	for _, rr := range reply.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			texts = append(texts, strings.Join(txt.Txt, ""))
		}
	}
	return texts, nil
}

// Update changes a zone with one of the keys, as an administrator does with nsupdate(1): lines such as "update add …".
func (b *Bind) Update(ctx context.Context, key, zone string, lines ...string) error {
	host, port, _ := strings.Cut(b.Addr, ":")
	script := fmt.Sprintf("server %s %s\nzone %s\n%s\nsend\n", host, port, zone, strings.Join(lines, "\n"))
	file, err := b.lab.WriteFile(filepath.Join(b.name, "script"), []byte(script), 0o600)
	if err != nil {
		return err
	}
	_, err = b.lab.Run(ctx, "nsupdate", "-k", b.KeyFiles[key], file)
	return err
}
