package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"syscall"
)

// Network is an Ethernet switch with hosts on it: a bridge in a network namespace of its own, so that nothing of it is seen
// on the machine. It ends with the process that holds the namespace, also when the test is killed.
type Network struct {
	Prefix netip.Prefix // addresses of the hosts

	lab   *Lab
	inner *namespaces
	ports int
}

// holder is the first process of a namespace. It does nothing, takes in orphans, and ends on SIGTERM.
const holder = `trap 'kill "$!"; exit 0' TERM; while :; do sleep 3600 & wait $!; done`

// StartNetwork makes an empty network. It needs root, and a kernel that allows network, mount, process id and host name
// namespaces and has bridges and veth pairs; the error says what is missing.
func (l *Lab) StartNetwork(ctx context.Context, prefix netip.Prefix) (*Network, error) {
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, fmt.Errorf("make network: ip of the package iproute2 is needed: %w", err)
	}
	init, err := l.hold("network", syscall.CLONE_NEWNET)
	if err != nil {
		return nil, err
	}
	n := &Network{Prefix: prefix, lab: l}
	if n.inner, err = openNamespaces(init.Pid(), "net"); err != nil {
		return nil, fmt.Errorf("make network: %w", err)
	}
	l.OnClose("forget network", func() error { n.inner.close(); return nil })
	if err := n.run(ctx, "link", "add", "br0", "up", "type", "bridge"); err != nil {
		return nil, fmt.Errorf("make network: the kernel needs bridges: %w", err)
	}
	return n, nil
}

// hold starts a process in new namespaces.
func (l *Lab) hold(name string, flags uintptr) (*Process, error) {
	cmd := exec.Command("/bin/sh", "-c", holder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	process, err := l.startCommand(name, nil, cmd)
	if err != nil {
		return nil, fmt.Errorf("make namespaces for %s (root, and a kernel and container that allow network, mount, process id "+
			"and host name namespaces, are needed): %w", name, err)
	}
	return process, nil
}

// run runs ip(8) on the switch. Process ids are those of the machine.
func (n *Network) run(ctx context.Context, args ...string) error {
	return n.inner.do(func() error {
		_, err := n.lab.Run(ctx, "ip", args...)
		return err
	})
}

// plug joins the host whose first process is pid; it finds its end of the cable as eth0, with a hardware address that is
// the same after every boot.
func (n *Network) plug(ctx context.Context, port int, pid int) error {
	mac := net.HardwareAddr{2, 0, 0, 0, byte(port >> 8), byte(port)}.String()
	err := n.run(ctx, "link", "add", portName(port), "master", "br0", "up", "type", "veth",
		"peer", "name", "eth0", "address", mac, "netns", fmt.Sprint(pid))
	if err != nil {
		return fmt.Errorf("the kernel needs veth pairs: %w", err)
	}
	return nil
}

func portName(port int) string { return fmt.Sprintf("port%d", port) }
