package milter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Times of a connection that are not settable.
const (
	negotiationTime = 10 * time.Second // Postfix negotiates at once
	packetTime      = 30 * time.Second // from the first byte of a packet to its last
)

const (
	readBuffer  = 16 << 10
	writeBuffer = 4 << 10
)

// guard stands between a connection and go-milter, which trusts its peer: one packet with a wrong length or without its NUL
// ends the process there, and a length of half a gigabyte is allocated unseen. The guard passes on only whole, well-formed
// packets in their order; on any other it closes the connection. It buffers too: go-milter reads and writes every packet in
// two pieces.
//
// The library sets deadlines for each piece; the guard has its own for silence and for whole packets, and ignores those. It
// also allocates every packet: bodies, nearly all of the bytes, go from the guard's buffer to the session past the library.
type guard struct {
	net.Conn
	server  *Server
	in      *bufio.Reader // reads through fill
	course  course
	whole   bytes.Reader // a checked packet that is larger than in's buffer
	left    int          // bytes of the current packet that the library has yet to read
	limit   time.Duration
	waiting bool        // for the first byte of a packet
	woken   atomic.Bool // the read deadline was moved to end the wait, not because time is up
	session *session

	outMu sync.Mutex // Close may come from another goroutine
	out   *bufio.Writer
	once  sync.Once
}

func newGuard(conn net.Conn, s *Server) *guard {
	g := &guard{Conn: conn, server: s, out: bufio.NewWriterSize(conn, writeBuffer)}
	g.in = bufio.NewReaderSize(readerFunc(g.fill), readBuffer)
	return g
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Read gives the library bytes of the current packet, or of the next one, for which it flushes and waits.
func (g *guard) Read(p []byte) (int, error) {
	if g.left == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	p = p[:min(len(p), g.left)]
	var n int
	var err error
	if g.whole.Len() > 0 {
		n, err = g.whole.Read(p)
	} else {
		n, err = g.in.Read(p)
	}
	g.left -= n
	if err != nil {
		return n, g.broken(err)
	}
	return n, nil
}

// next waits for a packet that is the library's and checks it.
func (g *guard) next() error {
	if err := g.flush(); err != nil {
		return io.EOF
	}
	for g.left == 0 {
		if err := g.packet(); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) packet() error {
	if err := g.wait(); err != nil {
		return err
	}
	head, err := g.peek(lengthSize + 1)
	if err != nil {
		return g.broken(err)
	}
	length, code := binary.BigEndian.Uint32(head), head[lengthSize]
	limit := limitOf(code)
	switch {
	case length == 0:
		return g.fail(faultLength)
	case limit == 0:
		return g.fail(faultCode)
	case length > uint32(limit):
		return g.fail(faultLength)
	}
	size := lengthSize + int(length)
	if hasText(code) {
		if err := g.check(code, size); err != nil {
			return err
		}
	} else if g.in.Buffered() < size {
		g.deadline(g.server.packetTime)
	}
	if bad := g.course.step(code); bad != faultNone {
		return g.fail(bad)
	}
	if code == packetBody && g.session.takesBody {
		return g.body(size)
	}
	g.left = size
	return nil
}

// body gives the session a packet of the body, as it comes. The library waits in Read meanwhile, so that the session is
// not called twice at a time.
func (g *guard) body(size int) error {
	_, _ = g.in.Discard(lengthSize + 1) // is in the buffer
	for size -= lengthSize + 1; size > 0; {
		if _, err := g.in.Peek(1); err != nil {
			return g.broken(err)
		}
		piece, _ := g.in.Peek(min(size, g.in.Buffered()))
		g.session.body(piece)
		_, _ = g.in.Discard(len(piece))
		size -= len(piece)
	}
	return nil
}

// check reads a packet ahead and looks at its data.
func (g *guard) check(code byte, size int) error {
	var packet []byte
	var err error
	if size <= g.in.Size() {
		packet, err = g.peek(size)
	} else {
		packet = make([]byte, size)
		g.deadline(g.server.packetTime)
		_, err = io.ReadFull(g.in, packet)
		g.whole.Reset(packet)
	}
	if err != nil {
		return g.broken(err)
	}
	if bad := checkForm(code, packet[lengthSize+1:]); bad != faultNone {
		return g.fail(bad)
	}
	return nil
}

// peek looks at bytes of a packet that has begun.
func (g *guard) peek(n int) ([]byte, error) {
	if g.in.Buffered() < n {
		g.deadline(g.server.packetTime)
	}
	return g.in.Peek(n)
}

// wait waits for the first byte of a packet. Between messages a draining server ends the connection here.
func (g *guard) wait() error {
	if g.in.Buffered() > 0 {
		return nil
	}
	limit := g.server.options.ReadTimeout
	if !g.course.negotiated {
		limit = min(limit, g.server.negotiationTime)
	}
	g.deadline(limit)
	if g.drained() {
		return io.EOF
	}
	g.waiting = true
	_, err := g.in.Peek(1)
	g.waiting = false
	if errors.Is(err, os.ErrDeadlineExceeded) {
		g.server.metrics.silent.Inc()
	}
	if err != nil {
		return io.EOF
	}
	return nil
}

func (g *guard) drained() bool { return g.server.draining.Load() && !g.course.inMessage() }

// fill is the reader below the buffer.
func (g *guard) fill(p []byte) (int, error) {
	for {
		n, err := g.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !g.woken.CompareAndSwap(true, false) {
			return n, err
		}
		if g.waiting && g.drained() {
			return 0, io.EOF
		}
		g.deadline(g.limit)
	}
}

// wake ends a wait, so that the connection sees that the server is draining.
func (g *guard) wake() {
	g.woken.Store(true)
	_ = g.Conn.SetReadDeadline(time.Unix(1, 0))
}

func (g *guard) deadline(limit time.Duration) {
	g.limit = limit
	_ = g.Conn.SetReadDeadline(time.Now().Add(limit))
}

// broken is a packet that was begun and didn't come to its end.
func (g *guard) broken(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return g.fail(faultSlow)
	}
	return g.fail(faultTruncated)
}

// fail counts a bad packet and ends the connection: io.EOF is what the library takes without a word.
func (g *guard) fail(why fault) error {
	g.server.malformed.Add(1)
	g.server.metrics.malformed.WithLabelValues(string(why)).Inc()
	g.server.complain.warn(g.server.options.Log, "closed a milter connection: not the milter protocol",
		zap.String("fault", string(why)), zap.Stringer("listener", g.Conn.LocalAddr()))
	return io.EOF
}
