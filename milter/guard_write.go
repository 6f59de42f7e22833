package milter

import (
	"net"
	"time"
)

// Write keeps bytes until the library reads again: all replies to one packet leave together.
func (g *guard) Write(p []byte) (int, error) {
	g.outMu.Lock()
	defer g.outMu.Unlock()
	if g.out.Available() < len(p) {
		_ = g.Conn.SetWriteDeadline(time.Now().Add(g.server.options.WriteTimeout))
	}
	return g.out.Write(p)
}

func (g *guard) flush() error {
	g.outMu.Lock()
	defer g.outMu.Unlock()
	if g.out.Buffered() == 0 {
		return nil
	}
	_ = g.Conn.SetWriteDeadline(time.Now().Add(g.server.options.WriteTimeout))
	return g.out.Flush()
}

// Close writes what is left, unless a write is under way that hangs, and frees the connection's place.
func (g *guard) Close() error {
	err := net.ErrClosed
	g.once.Do(func() {
		if g.outMu.TryLock() {
			_ = g.Conn.SetWriteDeadline(time.Now().Add(time.Second))
			_ = g.out.Flush()
			g.outMu.Unlock()
		}
		err = g.Conn.Close()
		g.server.release(g)
	})
	return err
}

// SetDeadline and its kin are the library's; the guard has its own.
func (g *guard) SetDeadline(time.Time) error      { return nil }
func (g *guard) SetReadDeadline(time.Time) error  { return nil }
func (g *guard) SetWriteDeadline(time.Time) error { return nil }
