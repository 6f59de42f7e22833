package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// fakeService notes what is asked of it.
type fakeService struct {
	calls   chan string
	failed  func(error)
	reloads []error // answers of Reload, one a call
	stop    error
}

func (s *fakeService) Start(failed func(error)) error {
	s.failed = failed
	s.calls <- "start"
	return nil
}

func (s *fakeService) Reload() error {
	err := s.reloads[0]
	s.reloads = s.reloads[1:]
	s.calls <- "reload"
	return err
}

func (s *fakeService) Stop(context.Context) error { s.calls <- "stop"; return s.stop }

// systemd listens where sd_notify(3) sends to.
func systemd(t *testing.T) func() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 1024)
		n, err := conn.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		return string(message[:n])
	}
}

func (s *fakeService) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s.calls:
		if got != want {
			t.Fatalf("%s was called, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not called", want)
	}
}

func signalSelf(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), signal); err != nil {
		t.Fatal(err)
	}
}

func TestServe(t *testing.T) {
	told := systemd(t)
	core, logged := observer.New(zap.InfoLevel)
	s := &fakeService{calls: make(chan string, 1), reloads: []error{errors.New("milter.yaml:1: nonsense"), nil}}
	ended := make(chan error, 1)
	go func() { ended <- serve(zap.New(core), s, time.Second) }()

	s.expect(t, "start")
	var states []string
	states = append(states, told())
	signalSelf(t, syscall.SIGHUP)
	s.expect(t, "reload")
	states = append(states, told(), told())
	signalSelf(t, syscall.SIGHUP)
	s.expect(t, "reload")
	states = append(states, told(), told())
	signalSelf(t, syscall.SIGTERM)
	s.expect(t, "stop")
	states = append(states, told())
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	want := []string{"READY=1",
		"RELOADING=1", "READY=1\nSTATUS=running with the configuration from before: the new one was refused, see the log",
		"RELOADING=1", "READY=1\nSTATUS=running",
		"STOPPING=1"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("systemd was told (-want +got):\n%s", diff)
	}
	refused := logged.FilterMessage("new configuration refused; the old one stays").All()
	if len(refused) != 1 || refused[0].ContextMap()["error"] != "milter.yaml:1: nonsense" {
		t.Errorf("the refusal was logged as %v", refused)
	}
}

func TestServeWatchdog(t *testing.T) {
	told := systemd(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	s := &fakeService{calls: make(chan string, 1)}
	ended := make(chan error, 1)
	go func() { ended <- serve(zap.NewNop(), s, time.Second) }()
	s.expect(t, "start")
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := told(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	signalSelf(t, syscall.SIGINT)
	s.expect(t, "stop")
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestServeEndsWithAFailedPart(t *testing.T) {
	cause := errors.New("listener broke")
	s := &fakeService{calls: make(chan string, 1), stop: errors.New("something else")}
	ended := make(chan error, 1)
	go func() { ended <- serve(zap.NewNop(), s, time.Second) }()
	s.expect(t, "start")
	s.failed(cause)
	s.failed(errors.New("and another"))
	s.expect(t, "stop")
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
}

// A configuration that can't be used ends either daemon with status 2, before it opens anything.
func TestDaemonsRefuseBadConfigurations(t *testing.T) {
	dir := t.TempDir()
	empty := writeFile(t, dir, "empty.yaml", "")
	for _, c := range []struct{ daemon, file, want string }{
		{"milter", filepath.Join(dir, "none.yaml"), "read configuration: open " + filepath.Join(dir, "none.yaml")},
		{"milter", writeFile(t, dir, "typo.yaml", "milter:\n  record_wait: 5\ndkmi: {}\n"),
			"typo.yaml:2: milter.record_wait: expected a duration such as 250ms, 30s, 2h or 90d, not \"5\"\n" +
				filepath.Join(dir, "typo.yaml") + ":3: dkmi: no such key: did you mean dkim?"},
		{"milter", writeFile(t, dir, "cert.yaml", fmt.Sprintf("api: {certificates: files, cert_file: %s/none.pem}\n"+
			"repository: {dir: %s/repository}\n", dir, dir)), "none.pem: no such file"},
		{"aggregator", empty, "members.static: expected at least one node, or consul.enabled: true"},
		{"aggregator", writeFile(t, dir, "a.yaml", fmt.Sprintf("members: {static: [{name: a, address: \"a:1\"}]}\n"+
			"client: {cert_file: %s/none.pem}\n", dir)), "none.pem: no such file"},
	} {
		t.Run(c.daemon+"/"+filepath.Base(c.file), func(t *testing.T) {
			status, _, stderr := command("", c.daemon, "--config", c.file)
			if status != exitUsage || !strings.Contains(stderr, c.want) {
				t.Errorf("status %d, %s", status, stderr)
			}
		})
	}
}
