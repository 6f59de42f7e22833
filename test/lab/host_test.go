package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

var hostPrefix = netip.MustParsePrefix("10.99.0.0/24")

func twoHosts(ctx context.Context, l *lab.Lab) (a, b *lab.Host, err error) {
	network, err := l.StartNetwork(ctx, hostPrefix)
	if err != nil {
		return nil, nil, err
	}
	if a, err = network.StartHost(ctx, lab.HostOptions{Name: "a", IP: "10.99.0.1", NameServers: []string{"10.99.0.2"}}); err != nil {
		return nil, nil, err
	}
	b, err = network.StartHost(ctx, lab.HostOptions{Name: "b", IP: "10.99.0.2"})
	return a, b, err
}

// Two hosts see each other, and not through a cut or after a crash; a host has its own name, resolver and processes.
func TestHosts(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	ctx := lab.Within(t, time.Minute)
	a, b, err := twoHosts(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	const address = "10.99.0.2:25"
	greet := func() {
		t.Helper()
		listener, err := b.Listen(ctx, "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if conn, err := listener.Accept(); err == nil {
				_, _ = io.WriteString(conn, "hello")
				conn.Close()
			}
		}()
		defer listener.Close()
		conn, err := a.DialContext(ctx, "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if text, err := io.ReadAll(conn); string(text) != "hello" {
			t.Errorf("read %q, %v", text, err)
		}
	}
	greet()

	out, err := a.Run(ctx, "sh", "-c", "hostname; cat /etc/resolv.conf; echo $$; ls /proc | grep -c '^[0-9]'")
	if err != nil || !strings.HasPrefix(string(out), "a\nnameserver 10.99.0.2\n") {
		t.Errorf("on a: %q, %v", out, err)
	}
	sleeper, err := a.Start("sleeper", "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Kill(func(comm string) bool { return comm == "sleep" && sleeper.Running() }); err != nil {
		t.Fatal(err)
	}
	if err := sleeper.ExitErr(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the sleeper ended: %v", err)
	}

	if err := b.Cut(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if conn, err := a.DialContext(short, "tcp", address); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("through a cut: %v, %v", conn, err)
	}
	if err := b.Mend(ctx); err != nil {
		t.Fatal(err)
	}
	greet()

	server, err := b.Start("server", "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Crash(ctx); err != nil {
		t.Fatal(err)
	}
	if err := server.ExitErr(); err == nil {
		t.Error("a process outlived its host, or left in peace")
	}
	if _, err := b.Run(ctx, "true"); err == nil {
		t.Error("a command ran on a host that is down")
	}
	if err := b.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	greet()
}

// Postfix on a host of its own listens at port 25 and can be restarted.
func TestHostPostfix(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	ctx := lab.Within(t, time.Minute)
	a, b, err := twoHosts(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.StartPostfix(ctx, lab.PostfixOptions{Name: "b", Host: b})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Listens("tcp", p.Addr)(ctx); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Listens("tcp", p.Addr)(ctx); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect to a Postfix that was stopped: %v", err)
	}
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

const abandonHosts = "abandon-hosts"

// abandonTwoHosts is what the killed program of TestHostsLeash does.
func abandonTwoHosts() {
	l, err := lab.New()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ctx := context.Background()
	a, _, err := twoHosts(ctx, l)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if _, err := l.StartPostfix(ctx, lab.PostfixOptions{Name: "left", Host: a}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	namespace, err := a.Run(ctx, "readlink", "/proc/self/ns/net")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Dir, string(bytes.TrimSpace(namespace)))
	select {}
}

// Nothing of a network is left when the program that made it is killed: no process, and thereby no namespace, bridge or
// mount.
func TestHostsLeash(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	ctx := lab.Within(t, time.Minute)
	cmd := exec.CommandContext(ctx, os.Args[0], abandonHosts)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir, namespace string
	_, scanErr := fmt.Fscan(out, &dir, &namespace)
	if scanErr == nil && len(processesIn(t, namespace)) == 0 {
		t.Errorf("no process in %s, while one must hold it", namespace)
	}
	if err := errors.Join(scanErr, cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the program ended by itself")
	}
	err = lab.Until(ctx, func(context.Context) error {
		if left := processesIn(t, namespace); len(left) > 0 {
			return fmt.Errorf("processes %v are in %s", left, namespace)
		}
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is there", dir)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts below %s are left (%v)", dir, err)
	}
}

func processesIn(t *testing.T, namespace string) (pids []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if link, err := os.Readlink("/proc/" + entry.Name() + "/ns/net"); err == nil && link == namespace {
			pids = append(pids, entry.Name())
		}
	}
	return pids
}
