package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of an open connection. Postfix waits for a reply to the end of the message for smtp_data_done_timeout, 10 minutes;
// what is silent for longer has no end behind it.
const (
	spliceIdle   = 15 * time.Minute
	halfOpenIdle = time.Minute // once one side has said all it had to say
	writeTimeout = 5 * time.Minute
)

var spliceBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// splice passes bytes both ways until both sides have ended, one fails, or nothing was said for long. It closes the far one;
// the near one is closed by whoever accepted it.
func (r *Relay) splice(near, far net.Conn, side string) {
	open := r.metrics.open.WithLabelValues(side)
	open.Inc()
	defer open.Dec()
	p := &pair{idle: spliceIdle}
	p.said()
	var both sync.WaitGroup
	both.Go(func() { p.pass(far, near) })
	both.Go(func() { p.pass(near, far) })
	both.Wait()
	_ = far.Close()
}

// pair is two connections that are passed on to each other.
type pair struct {
	last atomic.Int64 // when something was said, in ns
	idle time.Duration
	half atomic.Bool // one side has ended
}

func (p *pair) said() { p.last.Store(time.Now().UnixNano()) }

// deadline is when the silence was too long.
func (p *pair) deadline() time.Time {
	idle := p.idle
	if p.half.Load() {
		idle = min(idle, halfOpenIdle)
	}
	return time.Unix(0, p.last.Load()).Add(idle)
}

// pass copies from one side to the other. The end of what one says is passed on; any failure ends both.
func (p *pair) pass(to, from net.Conn) {
	buf := spliceBuffers.Get().(*[]byte)
	defer spliceBuffers.Put(buf)
	for {
		_ = from.SetReadDeadline(p.deadline())
		n, err := from.Read(*buf)
		if n > 0 {
			p.said()
			_ = to.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := to.Write((*buf)[:n]); err != nil {
				p.end(to, from)
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			p.said()
			p.half.Store(true)
			_ = from.SetReadDeadline(time.Time{})
			if closer, ok := to.(interface{ CloseWrite() error }); !ok || closer.CloseWrite() != nil {
				p.end(to, from)
			}
			// The other direction may be waiting under the longer limit.
			_ = to.SetReadDeadline(p.deadline())
			return
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(p.deadline()):
			// The other side spoke meanwhile.
		default:
			p.end(to, from)
			return
		}
	}
}

func (p *pair) end(conns ...net.Conn) {
	for _, conn := range conns {
		_ = conn.Close()
	}
}
