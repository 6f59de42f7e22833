package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is a host of a Network: its own network, processes, mounts and host name. Files are those of the machine; what it
// is to keep over a crash lies below the lab's directory. The nil Host is the machine itself.
type Host struct {
	Name string
	IP   string

	network *Network
	port    int    // of the switch
	resolv  string // path of its resolv.conf
	also    []string
	init    *Process
	inner   *namespaces // nil while it is down
}

// HostOptions describe a host.
type HostOptions struct {
	Name        string
	IP          string   // an address of the network
	Also        []string // further addresses
	NameServers []string // addresses; none: it resolves nothing
}

// StartHost boots a host.
func (n *Network) StartHost(ctx context.Context, opts HostOptions) (*Host, error) {
	n.ports++
	h := &Host{Name: opts.Name, IP: opts.IP, also: opts.Also, network: n, port: n.ports}
	var text strings.Builder
	for _, server := range opts.NameServers {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	text.WriteString("options timeout:1 attempts:2\n")
	var err error
	if h.resolv, err = n.lab.WriteFile(filepath.Join("host-"+h.Name, "resolv.conf"), []byte(text.String()), 0o644); err != nil {
		return nil, err
	}
	n.lab.OnClose("forget host "+h.Name, func() error { h.forget(); return nil })
	return h, h.Boot(ctx)
}

// Boot starts the host again after Crash, with nothing running on it.
func (h *Host) Boot(ctx context.Context) error {
	var err error
	if h.init, err = h.network.lab.hold("host-"+h.Name, syscall.CLONE_NEWNET|syscall.CLONE_NEWNS|syscall.CLONE_NEWPID|syscall.CLONE_NEWUTS); err != nil {
		return err
	}
	if h.inner, err = openNamespaces(h.init.Pid(), "net", "mnt", "pid", "uts"); err != nil {
		return fmt.Errorf("boot host %s: %w", h.Name, err)
	}
	if err := h.network.plug(ctx, h.port, h.init.Pid()); err != nil {
		return fmt.Errorf("boot host %s: %w", h.Name, err)
	}
	steps := [][]string{
		{"mount", "--make-rprivate", "/"},
		{"mount", "-t", "proc", "proc", "/proc"},
		{"mount", "--bind", h.resolv, "/etc/resolv.conf"},
		{"hostname", h.Name},
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "set", "eth0", "up"},
	}
	for _, ip := range append([]string{h.IP}, h.also...) {
		steps = append(steps, []string{"ip", "address", "add", ip + "/" + strconv.Itoa(h.network.Prefix.Bits()), "dev", "eth0"})
	}
	for _, step := range steps {
		if _, err := h.Run(ctx, step[0], step[1:]...); err != nil {
			return fmt.Errorf("boot host %s: %w", h.Name, err)
		}
	}
	return nil
}

// Crash is a power cut: the cable is dead, and every process on the host ends at once, unasked.
func (h *Host) Crash(ctx context.Context) error {
	if h.inner == nil {
		return nil
	}
	if err := h.network.run(ctx, "link", "delete", portName(h.port)); err != nil {
		return fmt.Errorf("crash host %s: %w", h.Name, err)
	}
	h.forget()
	return h.init.Kill() // and the kernel all others of its process id namespace with it (pid_namespaces(7))
}

func (h *Host) forget() {
	if h.inner != nil {
		h.inner.close()
		h.inner = nil
	}
}

// Cut makes the switch drop everything from and to the host, which notices nothing but silence.
func (h *Host) Cut(ctx context.Context) error {
	return h.network.run(ctx, "link", "set", portName(h.port), "nomaster")
}

// Mend undoes Cut.
func (h *Host) Mend(ctx context.Context) error {
	return h.network.run(ctx, "link", "set", portName(h.port), "master", "br0")
}

// do calls f on a thread of the host.
func (h *Host) do(f func() error) error {
	if h == nil {
		return f()
	}
	if h.inner == nil {
		return fmt.Errorf("host %s is down", h.Name)
	}
	return h.inner.do(f)
}

// Start runs a program on the host until the lab is closed or the host crashes. Its output goes to NAME.log.
func (h *Host) Start(name, program string, args ...string) (*Process, error) {
	return h.network.lab.startOn(h, name, program, args...)
}

// Run runs a program on the host to its end; see Lab.Run.
func (h *Host) Run(ctx context.Context, program string, args ...string) (out []byte, err error) {
	err = h.do(func() error {
		out, err = h.network.lab.Run(ctx, program, args...)
		return err
	})
	return out, err
}

// DialContext connects from the host to an IP address with a port, or to a unix socket.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	return h.DialFrom(ctx, "", network, address)
}

// DialFrom is DialContext from one of several addresses of the host; empty leaves the choice to the kernel.
func (h *Host) DialFrom(ctx context.Context, from, network, address string) (conn net.Conn, err error) {
	dialer := net.Dialer{}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	err = h.do(func() error {
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens on the host.
func (h *Host) Listen(ctx context.Context, network, address string) (listener net.Listener, err error) {
	err = h.do(func() error {
		listener, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return listener, err
}

// Listens is a check for Until: somebody on the host accepts connections.
func (h *Host) Listens(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		conn, err := h.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// HTTP is a client on the host, for URLs with an IP address.
func (h *Host) HTTP() *http.Client {
	if h == nil {
		return statusClient
	}
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.DialContext}}
}

// Pids finds the host's processes for which is answers true, by their ids on the machine and the name of their program
// (the second field of /proc/PID/stat, proc(5)).
func (h *Host) Pids(is func(comm string) bool) (pids []int, err error) {
	err = h.each(func(pid int, status []byte) {
		if is(statusField(status, "Name")) {
			pids = append(pids, pid)
		}
	})
	return pids, err
}

// outside is the id on the machine of a process with this id on the host.
func (h *Host) outside(inside int) (pid int, err error) {
	if h == nil {
		return inside, nil
	}
	err = h.each(func(candidate int, status []byte) {
		if ids := strings.Fields(statusField(status, "NSpid")); len(ids) > 1 && ids[len(ids)-1] == strconv.Itoa(inside) {
			pid = candidate
		}
	})
	if err == nil && pid == 0 {
		err = fmt.Errorf("host %s: no process %d", h.Name, inside)
	}
	return pid, err
}

// each calls f for every process of the host with the content of /proc/PID/status.
func (h *Host) each(f func(pid int, status []byte)) error {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h.init.Pid()))
	if err != nil {
		return fmt.Errorf("list processes of host %s: %w", h.Name, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("list processes of host %s: %w", h.Name, err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if space, err := os.Readlink(filepath.Join("/proc", entry.Name(), "ns/pid")); err != nil || space != own {
			continue // ended meanwhile, or of another host
		}
		if status, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "status")); err == nil {
			f(pid, status)
		}
	}
	return nil
}

func statusField(status []byte, name string) string {
	for line := range bytes.Lines(status) {
		if value, found := bytes.CutPrefix(line, []byte(name+":")); found {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// Kill ends processes of the host with SIGKILL, those that is answers true for; it is an error when there is none.
func (h *Host) Kill(is func(comm string) bool) error {
	pids, err := h.Pids(is)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("kill on host %s: no such process", h.Name)
	}
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill %d on host %s: %w", pid, h.Name, err))
		}
	}
	return errors.Join(errs...)
}
