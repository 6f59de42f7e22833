package milter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// bind opens a socket.
func bind(l Listen) (net.Listener, error) {
	switch l.Network {
	case "unix":
		return bindUnix(l)
	case "tcp":
		if !l.AllowRemote && !loopback(l.Address) {
			return nil, fmt.Errorf("listen on %s: other hosts reach it, and whoever reaches the milter can have mail signed: "+
				"set allow_remote where that is meant", l.Address)
		}
		return net.Listen("tcp", l.Address)
	}
	return nil, fmt.Errorf("listen on %s: expected network unix or tcp, not %q", l.Address, l.Network)
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// bindUnix opens a unix socket with its mode and group in place before anybody can connect. A socket file that is left over
// is replaced; one that somebody answers on is not, nor is any other kind of file.
func bindUnix(l Listen) (net.Listener, error) {
	if err := removeStale(l.Address); err != nil {
		return nil, err
	}
	gid := -1
	if l.Group != "" {
		group, err := user.LookupGroup(l.Group)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
		}
		if gid, err = strconv.Atoi(group.Gid); err != nil {
			return nil, fmt.Errorf("listen on %s: group %s: %w", l.Address, l.Group, err)
		}
	}
	// The socket is made under another name, no longer than its own since the kernel counts, and moved into place when it
	// is ready.
	temporary := l.Address[:len(l.Address)-1] + "~"
	_ = os.Remove(temporary)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		var bind *net.OpError
		if errors.As(err, &bind) {
			err = bind.Err // without the other name
		}
		return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
	}
	listener.SetUnlinkOnClose(false)
	if gid >= 0 {
		err = os.Chown(temporary, -1, gid)
	}
	if err == nil && l.Mode != 0 {
		err = os.Chmod(temporary, l.Mode.Perm())
	}
	if err == nil {
		err = os.Rename(temporary, l.Address)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", l.Address, err), listener.Close())
	}
	return &unixListener{UnixListener: listener, path: l.Address}, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("listen on %s: the file is there and is not a socket", path)
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("listen on %s: another process answers on this socket", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen on %s: see whether another process answers: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("listen on %s: remove the socket that was left over: %w", path, err)
	}
	return nil
}

// unixListener removes its socket file when it closes, under the name that it was moved to.
type unixListener struct {
	*net.UnixListener
	path string
	once sync.Once
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	l.once.Do(func() { _ = os.Remove(l.path) })
	return l.UnixListener.Close()
}

// Pauses between attempts to accept.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// accept serves the connections of a listener until that closes. Passing errors, such as too many open files, are counted
// and outlived.
func (s *Server) accept(listener net.Listener) {
	pause := minAcceptPause
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.metrics.acceptErrors.Inc()
			s.complain.warn(s.options.Log, "can't accept milter connections, trying again",
				zap.Stringer("listener", listener.Addr()), zap.Error(err))
			select {
			case <-s.stopped.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, maxAcceptPause)
			continue
		}
		pause = minAcceptPause
		if g := s.admit(conn); g != nil {
			g.serve()
		} else {
			_ = conn.Close()
		}
	}
}
