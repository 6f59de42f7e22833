package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// PostfixOptions describe an instance. The zero value relays mail from 127.0.0.0/9 to nowhere, without a milter.
type PostfixOptions struct {
	Name    string // names the directory and the host, NAME.fleet.example
	Host    *Host  // it runs there, at port 25; nil: on the machine, at a port that is free
	IP      string // loopback address to listen at; 127.0.0.1 when empty, the address of Host where there is one
	Milter  string // unix:PATH or inet:HOST:PORT; empty for none
	Capture bool   // log every line of the outbound conversations
	// MilterDefault is milter_default_action; tempfail when empty, so that nothing slips past a milter that is away.
	MilterDefault string
	Routes        map[string]string // recipient domain to HOST:PORT; other domains are looked up nowhere and bounce
	// Names are the mail servers of recipient domains that Routes doesn't have, domain to IP address, at port 25: what DNS is
	// to other hosts, the file /etc/hosts is to this instance. Mail that goes by Routes is never relayed through the fleet.
	Names    map[string]string
	Retry    time.Duration     // how soon deferred mail is tried again; 2 s when zero
	Main     map[string]string // further lines of main.cf
	Services []string          // further lines of master.cf
	Params   map[string]string // further "SERVICE/TYPE/PARAMETER" overrides as of postconf -P
}

// Postfix is a private instance.
type Postfix struct {
	Addr     string // HOST:PORT of its SMTP server
	Hostname string
	Dir      string // holds conf, queue, data and log
	Conf     string // configuration directory, for postfix(1), postqueue(1) and sendmail(1)
	Log      string // path of its log file

	lab    *Lab
	host   *Host
	routes map[string]string
	name   string
	names  map[string]string
	master int // process id on the machine
}

// StartPostfix makes an instance of its own queue and data directories and starts it.
func (l *Lab) StartPostfix(ctx context.Context, opts PostfixOptions) (*Postfix, error) {
	p, err := l.newPostfix(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("make Postfix instance %s: %w", opts.Name, err)
	}
	l.OnClose("stop Postfix "+opts.Name, func() error { return p.Stop() })
	l.watchLog(p.Log)
	return p, p.Start(ctx)
}

func (l *Lab) newPostfix(ctx context.Context, opts PostfixOptions) (*Postfix, error) {
	addr, err := opts.address()
	if err != nil {
		return nil, err
	}
	dir := l.Path("postfix-" + opts.Name)
	p := &Postfix{Addr: addr, Hostname: opts.Name + ".fleet.example", Dir: dir, Conf: filepath.Join(dir, "conf"),
		Log: filepath.Join(dir, "log", "mail.log"), lab: l, host: opts.Host, routes: maps.Clone(opts.Routes), name: opts.Name, names: maps.Clone(opts.Names)}
	for _, sub := range []string{"conf", "queue", "data", "log"} {
		if _, err := l.Mkdir("postfix-"+opts.Name, sub); err != nil {
			return nil, err
		}
	}
	if err := chown(filepath.Join(dir, "data"), "postfix"); err != nil {
		return nil, err
	}
	if err := p.writeRoutes(); err != nil {
		return nil, err
	}
	if p.names != nil {
		if _, err := l.WriteFile("postfix-"+p.name+"/hosts", hostsFile(p.names), 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(p.Conf, "main.cf"), p.mainCF(opts), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(p.Conf, "master.cf"), p.masterCF(opts), 0o644); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(opts.Params)) {
		if _, err := l.Run(ctx, "postconf", "-c", p.Conf, "-P", key+"="+opts.Params[key]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (o *PostfixOptions) address() (string, error) {
	switch {
	case o.Host != nil:
		return net.JoinHostPort(o.Host.IP, "25"), nil
	case o.IP != "":
		return FreeAddr(o.IP)
	}
	return FreeAddr("127.0.0.1")
}

func (p *Postfix) writeRoutes() error {
	var table bytes.Buffer
	for _, domain := range slices.Sorted(maps.Keys(p.routes)) {
		host, port, found := strings.Cut(p.routes[domain], ":")
		if !found {
			return fmt.Errorf("route of %s: %q is not HOST:PORT", domain, p.routes[domain])
		}
		fmt.Fprintf(&table, "%s smtp:[%s]:%s\n", domain, host, port)
	}
	return os.WriteFile(filepath.Join(p.Conf, "transport"), table.Bytes(), 0o644)
}

// Route sends a domain's mail to HOST:PORT from now on.
func (p *Postfix) Route(ctx context.Context, domain, to string) error {
	if p.routes == nil {
		p.routes = map[string]string{}
	}
	p.routes[domain] = to
	if err := p.writeRoutes(); err != nil {
		return err
	}
	return p.run(ctx, "reload")
}

// Start starts the instance and waits until it takes mail.
func (p *Postfix) Start(ctx context.Context) error {
	if err := p.run(ctx, "start"); err != nil {
		return err
	}
	pid, err := os.ReadFile(filepath.Join(p.Dir, "queue", "pid", "master.pid"))
	if err != nil {
		return fmt.Errorf("start Postfix: %w", err)
	}
	inside, err := strconv.Atoi(string(bytes.TrimSpace(pid)))
	if err != nil {
		return fmt.Errorf("start Postfix: read master.pid: %w", err)
	}
	if p.master, err = p.host.outside(inside); err != nil {
		return fmt.Errorf("start Postfix: %w", err)
	}
	if err := p.lab.leash.hold(p.master); err != nil {
		return fmt.Errorf("start Postfix: %w", err)
	}
	if err := Until(ctx, p.host.Listens("tcp", p.Addr)); err != nil {
		return fmt.Errorf("start Postfix: wait for %s: %w", p.Addr, err)
	}
	return nil
}

// Stop ends the instance: its master takes its own children with it (master(8)). Without one running it does nothing.
func (p *Postfix) Stop() error {
	if p.master == 0 {
		return nil
	}
	pid := p.master
	p.master = 0
	defer p.lab.leash.drop(pid)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop Postfix master %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return Until(ctx, func(ctx context.Context) error {
		if alive(pid) {
			return fmt.Errorf("stop Postfix: master %d still runs", pid)
		}
		if p.host.Listens("tcp", p.Addr)(ctx) == nil {
			return fmt.Errorf("stop Postfix: a child of master %d still listens", pid)
		}
		return nil
	})
}

// Flush asks for an attempt at everything in the queue now.
func (p *Postfix) Flush(ctx context.Context) error { return p.run(ctx, "flush") }

// Pid is the process id of the instance's master.
func (p *Postfix) Pid() int { return p.master }

func (p *Postfix) run(ctx context.Context, command string) error {
	return p.host.do(func() error {
		cmd := exec.CommandContext(ctx, "postfix", "-c", p.Conf, command)
		if p.names != nil && command == "start" {
			cmd = exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c",
				`mount --bind "$1" /etc/hosts && exec postfix -c "$2" start`, "sh", filepath.Join(p.Dir, "hosts"), p.Conf)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			tail, _ := fileTail(p.Log, 2000)
			return fmt.Errorf("%s: %w: %s\n%s", cmd, err, out, tail)
		}
		return nil
	})
}

// mainCF is the instance's main configuration (postconf(5)).
func (p *Postfix) mainCF(opts PostfixOptions) []byte {
	retry := opts.Retry
	if retry == 0 {
		retry = 2 * time.Second
	}
	seconds := fmt.Sprintf("%ds", max(1, int(retry.Seconds())))
	params := map[string]string{
		"compatibility_level":   "3.6",
		"queue_directory":       filepath.Join(p.Dir, "queue"),
		"data_directory":        filepath.Join(p.Dir, "data"),
		"maillog_file":          p.Log,
		"maillog_file_prefixes": p.Dir,
		"myhostname":            p.Hostname,
		"syslog_name":           "postfix-" + opts.Name,
		// An address of 127.0.0.0/8 other than the first belongs to no interface that Postfix could find; the listener
		// in master.cf names its own.
		"inet_interfaces":      "127.0.0.1",
		"inet_protocols":       "ipv4",
		"mynetworks":           "127.0.0.0/9",
		"mydestination":        "",
		"alias_maps":           "",
		"local_recipient_maps": "",
		"transport_maps":       "texthash:" + filepath.Join(p.Conf, "transport"),
		// Nothing in a lab may ask the network's name servers.
		"smtp_dns_support_level":              "disabled",
		"smtp_host_lookup":                    "native",
		"smtp_tls_loglevel":                   "1",
		"smtpd_tls_loglevel":                  "1",
		"smtpd_relay_restrictions":            "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
		"minimal_backoff_time":                seconds,
		"maximal_backoff_time":                seconds,
		"queue_run_delay":                     seconds,
		"message_size_limit":                  "0",
		"smtpd_client_connection_count_limit": "0",
		"smtpd_recipient_limit":               "5000",
	}
	if opts.Milter != "" {
		params["smtpd_milters"] = opts.Milter
		params["non_smtpd_milters"] = opts.Milter
		params["milter_default_action"] = "tempfail"
		if opts.MilterDefault != "" {
			params["milter_default_action"] = opts.MilterDefault
		}
	}
	maps.Copy(params, opts.Main)
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(&out, "%s = %s\n", name, params[name])
	}
	return out.Bytes()
}

// services are the daemons of an instance (master(5)), none of them chrooted: sockets may be anywhere.
const services = `pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
%s
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

func (p *Postfix) masterCF(opts PostfixOptions) []byte {
	clients := "smtp unix - - n - - smtp\nrelay unix - - n - - smtp"
	if opts.Capture {
		const capture = "\n  -o debug_peer_list=0.0.0.0/0,[::]/0 -o debug_peer_level=1"
		clients = "smtp unix - - n - - smtp" + capture + "\nrelay unix - - n - - smtp" + capture
	}
	out := fmt.Appendf(nil, "%s inet n - n - - smtpd\n", p.Addr)
	out = fmt.Appendf(out, services, clients)
	for _, line := range opts.Services {
		out = fmt.Appendf(out, "%s\n", line)
	}
	return out
}

func chown(path, owner string) error {
	u, err := user.Lookup(owner)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, -1)
}

// QueuedMail is a message in the queue, as postqueue -j prints it (postqueue(1)).
type QueuedMail struct {
	QueueName  string `json:"queue_name"` // incoming, active, deferred, hold
	QueueID    string `json:"queue_id"`
	Sender     string `json:"sender"`
	Recipients []struct {
		Address     string `json:"address"`
		DelayReason string `json:"delay_reason"`
	} `json:"recipients"`
}

// LogContent is the whole log so far; empty while there is none.
func (p *Postfix) LogContent() ([]byte, error) {
	content, err := os.ReadFile(p.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}
