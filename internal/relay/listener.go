package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/crowd"
)

// listener serves a bounded number of connections at a time; more wait in the kernel's queue.
type listener struct {
	net.Listener
	places chan struct{}
	// strangers bound how many places a source has before it is known who it is; nil: there are no strangers here. crowded is
	// called for each connection that is closed for that.
	strangers *crowd.Sources
	crowded   func(from net.Addr)

	mu      sync.Mutex
	open    map[net.Conn]func() // gives back a stranger's place
	running sync.WaitGroup
}

func newListener(l net.Listener, most int) *listener {
	return &listener{Listener: l, places: make(chan struct{}, most), open: map[net.Conn]func(){}}
}

func listenTCP(address string, most int) (*listener, error) {
	l, err := (&net.ListenConfig{KeepAliveConfig: watched, Control: watch}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return newListener(l, most), nil
}

// listenMap makes the map's socket. One that is left from a daemon that was killed is replaced; one that somebody serves is
// an error.
func listenMap(o Listen) (*listener, error) {
	if o.Network != "unix" {
		return listenTCP(o.Address, maxMapConnections)
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "unix", o.Address)
	if err == nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: somebody serves it", o.Address), conn.Close())
	}
	if err := os.Remove(o.Address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", o.Address, err)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", o.Address)
	if err != nil {
		return nil, err
	}
	if err := own(o); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", o.Address, err), l.Close())
	}
	return newListener(l, maxMapConnections), nil
}

// own lets Postfix reach the socket.
func own(o Listen) error {
	if o.Group != "" {
		group, err := user.LookupGroup(o.Group)
		if err != nil {
			return err
		}
		gid, err := strconv.Atoi(group.Gid)
		if err != nil {
			return err
		}
		if err := os.Chown(o.Address, -1, gid); err != nil {
			return err
		}
	}
	if o.Mode != 0 {
		return os.Chmod(o.Address, o.Mode)
	}
	return nil
}

// acceptPause follows a failed accept: the process may be out of file descriptors for a moment.
const acceptPause = 100 * time.Millisecond

// serve handles each connection in a goroutine of its own, which closes it, until the listener is closed.
func (l *listener) serve(handle func(net.Conn)) {
	l.running.Go(func() {
		for {
			l.places <- struct{}{}
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				<-l.places
				time.Sleep(acceptPause)
				continue
			}
			if !l.enter(conn) {
				<-l.places
				_ = conn.Close() // a stranger, to whom nothing was said
				continue
			}
			l.running.Go(func() {
				defer func() {
					l.leave(conn)
					<-l.places
				}()
				handle(conn)
			})
		}
	})
}

// enter takes a connection in, unless its source has enough.
func (l *listener) enter(conn net.Conn) bool {
	known := func() {}
	if l.strangers != nil {
		var ok bool
		if known, ok = l.strangers.Enter(conn.RemoteAddr()); !ok {
			l.crowded(conn.RemoteAddr())
			return false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[conn] = known
	return true
}

// known says that a connection is no stranger's any more.
func (l *listener) known(conn net.Conn) {
	l.mu.Lock()
	known := l.open[conn]
	l.mu.Unlock()
	known()
}

func (l *listener) leave(conn net.Conn) {
	l.known(conn)
	l.mu.Lock()
	delete(l.open, conn)
	l.mu.Unlock()
	_ = conn.Close() // the peer may have gone first
}

// stop closes the listener and waits for the connections until ctx ends, when it cuts them off.
func (l *listener) stop(ctx context.Context) {
	_ = l.close() // told by Relay.close
	done := make(chan struct{})
	go func() {
		l.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	l.cut()
	<-done
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		_ = conn.Close()
	}
}

func (l *listener) close() error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// guard keeps a fault in one connection from ending the daemon, and with it all others.
func (r *Relay) guard(handle func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		defer func() {
			if fault := recover(); fault != nil {
				r.metrics.faults.Inc()
				r.log.Error("fault in a connection", zap.Any("fault", fault), zap.Stack("stack"))
			}
		}()
		handle(conn)
	}
}
