package milter

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gomilter "github.com/d--j/go-milter"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Skipf("no /etc/group: %v", err)
	}
	name, _, _ := strings.Cut(string(group), ":")
	s, err := New(Options{Listen: []Listen{{Network: "unix", Address: path, Mode: 0o620, Group: name}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o620 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("mode %v", info.Mode())
	}
	if gid := info.Sys().(*syscall.Stat_t).Gid; gid != 0 {
		t.Errorf("group %d, want that of %s", gid, name)
	}
	serves(t, path)
	if _, err := New(Options{Listen: []Listen{{Network: "unix", Address: path}}}); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a second server on a living socket: %v", err)
	}
	serves(t, path)
	shutDown(t, s)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file is left over: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	s, err := New(Options{Listen: []Listen{{Network: "unix", Address: path}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	serves(t, path)
	shutDown(t, s)
}

func TestBindErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good.sock")
	tests := map[string]struct {
		listen Listen
		want   string
	}{
		"a file that is no socket": {Listen{Network: "unix", Address: file}, "is not a socket"},
		"no such directory":        {Listen{Network: "unix", Address: filepath.Join(dir, "no", "x.sock")}, "no such file"},
		"no such group":            {Listen{Network: "unix", Address: filepath.Join(dir, "g.sock"), Group: "no-such-group"}, "no-such-group"},
		"every address":            {Listen{Network: "tcp", Address: ":0"}, "allow_remote"},
		"a remote address":         {Listen{Network: "tcp", Address: "192.0.2.1:0"}, "allow_remote"},
		"a host name":              {Listen{Network: "tcp", Address: "example.com:0"}, "allow_remote"},
		"no such network":          {Listen{Network: "udp", Address: "127.0.0.1:0"}, "expected network unix or tcp"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Listen: []Listen{{Network: "unix", Address: good}, test.listen}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
			if _, err := os.Stat(good); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the socket that could be bound is left over")
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file that was in the way: %q, %v", text, err)
	}
}

func TestSeveralListeners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	s, err := New(Options{Policy: testPolicy(), Listen: []Listen{{Network: "unix", Address: path},
		{Network: "tcp", Address: "127.0.0.1:0"}, {Network: "tcp", Address: "127.0.0.1:0", AllowRemote: true}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { shutDown(t, s) })
	if got := len(s.Addresses()); got != 3 {
		t.Fatalf("%d addresses", got)
	}
	for _, address := range s.Addresses() {
		session, err := gomilter.NewClient(address.Network(), address.String()).Session(nil)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		_ = session.Close()
	}
}

// failing is a listener that fails a few times before it accepts.
type failing struct {
	net.Listener
	failures atomic.Int64
}

func (l *failing) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOnAfterErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	s, err := New(Options{Policy: testPolicy(), Listen: []Listen{{Network: "unix", Address: path}}})
	if err != nil {
		t.Fatal(err)
	}
	broken := &failing{Listener: s.listeners[0]}
	broken.failures.Store(3)
	s.listeners[0] = broken
	s.Start()
	t.Cleanup(func() { shutDown(t, s) })
	serves(t, path)
	if got := testutil.ToFloat64(s.metrics.acceptErrors); got != 3 {
		t.Errorf("%v accept errors counted, want 3", got)
	}
}

// TestShutdownWhileAcceptFails: the pause between attempts doesn't hold up the end.
func TestShutdownWhileAcceptFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	s, err := New(Options{Listen: []Listen{{Network: "unix", Address: path}}})
	if err != nil {
		t.Fatal(err)
	}
	broken := &failing{Listener: s.listeners[0]}
	broken.failures.Store(1 << 40)
	s.listeners[0] = broken
	s.Start()
	eventually(t, "accept fails", func() bool { return testutil.ToFloat64(s.metrics.acceptErrors) > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
