package relay

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// vanishAfter is how long a node may confirm nothing of what was sent to it, and take none of it, before its connection is
// given up: a host that is cut off says no goodbye, and Postfix has five minutes' patience with each command. A silent one is
// asked after keepAlive.
const (
	vanishAfter = time.Minute
	keepAlive   = 15 * time.Second
)

var watched = net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive}

// watch has the kernel notice that the other host is gone (TCP_USER_TIMEOUT in tcp(7), which goes for unanswered keep-alive
// probes too). Connections have it from the socket that accepts them.
func watch(_, _ string, socket syscall.RawConn) error {
	var option error
	control := socket.Control(func(fd uintptr) {
		option = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(vanishAfter/time.Millisecond)) //nolint:gosec // a file descriptor
	})
	return errors.Join(control, option)
}
