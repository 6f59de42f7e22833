package milter

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gomilter "github.com/d--j/go-milter"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

// deadly are packets that end the whole process of a plain go-milter server.
var deadly = map[string][]byte{
	"nothing in the packet": {0, 0, 0, 0},
	"MAIL without its NUL":  stream(offer, connect, helo, packet(packetMail, "<a@example.com>")),
	"RCPT without its NUL":  stream(offer, connect, helo, mailCmd, packet(packetRcpt, "<b@example.net>")),
	"CONNECT has a name":    stream(offer, packet(packetConnect, "client.example.org\x00")),
}

// victim names, in a process of its own, the socket of a plain go-milter server that is to be killed.
const victim = "POSTFLEET_MILTER_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(victim); path != "" {
		beVictim(path)
	}
	goleak.VerifyTestMain(m)
}

func beVictim(path string) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	fmt.Println("listening")
	go func() {
		_, _ = io.ReadAll(os.Stdin) // until the test has seen that it lives
		os.Exit(0)
	}()
	server := gomilter.NewServer(gomilter.WithMilter(func() gomilter.Milter { return gomilter.NoOpMilter{} }))
	_ = server.Serve(listener)
	os.Exit(0)
}

// TestDeadlyPackets shows that each of these packets kills go-milter without the guard, and does nothing with it.
func TestDeadlyPackets(t *testing.T) {
	for name, bytes := range deadly {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := plainLibraryDies(t, bytes); !strings.Contains(out, "panic: runtime error") {
				t.Errorf("go-milter alone survived: it may have been mended, see whether the guard can be made simpler\n%s", out)
			}
			s, path := start(t, Options{Policy: testPolicy()})
			talk(t, path, bytes)
			if got := s.Traffic().Malformed; got != 1 {
				t.Errorf("%d malformed connections counted, want 1", got)
			}
			serves(t, path)
		})
	}
}

// plainLibraryDies runs a go-milter server in a process of its own, sends a stream and gives what the process wrote.
func plainLibraryDies(t *testing.T, sent []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "victim.sock")
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), victim+"="+path)
	var out bytes.Buffer
	cmd.Stderr = &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the victim said %q: %v", line, err)
	}
	talk(t, path, sent)
	// The connection closes a moment before the process dies. One that lives is told to end.
	timer := time.AfterFunc(3*time.Second, func() { _ = stdin.Close() })
	defer timer.Stop()
	_ = cmd.Wait()
	return out.String()
}

func TestFaults(t *testing.T) {
	head := stream(offer, connect, helo)
	message := stream(head, mailCmd, rcptCmd)
	tests := map[string]struct {
		sent []byte
		want fault
	}{
		"half a gigabyte announced": {stream(offer, []byte("\x20\x00\x00\x00B")), faultLength},
		"macros above their limit":  {stream(offer, []byte("\x00\x01\x00\x01D")), faultLength},
		"EOM with data":             {stream(message, header, eoh, packet(packetEOM, "x")), faultLength},
		"no such packet":            {stream(offer, packet('Z', "")), faultCode},
		"no negotiation":            {connect, faultOrder},
		"two negotiations":          {stream(offer, offer), faultOrder},
		"short offer":               {packet(packetNegotiate, "\x00\x00\x00\x06"), faultForm},
		"HELO without NUL":          {stream(offer, connect, packet(packetHelo, "x")), faultForm},
		"header without value":      {stream(message, packet(packetHeader, "From\x00")), faultForm},
		"header in three":           {stream(message, packet(packetHeader, "From\x00a\x00b\x00")), faultForm},
		"macro without value":       {stream(offer, packet(packetMacro, "Ci\x00")), faultForm},
		"macro without NUL":         {stream(offer, packet(packetMacro, "Ci\x00x")), faultForm},
		"macro of nothing":          {stream(offer, packet(packetMacro, "")), faultForm},
		"IPv4 that is none":         {stream(offer, packet(packetConnect, "x\x004\x00\x01192.0.2.777\x00")), faultForm},
		"IPv6 that is none":         {stream(offer, packet(packetConnect, "x\x006\x00\x01IPv6:zz\x00")), faultForm},
		"no such family":            {stream(offer, packet(packetConnect, "x\x00Z\x00\x01a\x00")), faultForm},
		"MAIL before CONNECT":       {stream(offer, mailCmd), faultOrder},
		"RCPT before MAIL":          {stream(head, rcptCmd), faultOrder},
		"body before MAIL":          {stream(head, chunk), faultOrder},
		"EOM before MAIL":           {stream(head, eom), faultOrder},
		"EOM twice":                 {stream(message, header, eoh, eom, eom), faultOrder},
		"RCPT after the header":     {stream(message, header, rcptCmd), faultOrder},
		"header after its end":      {stream(message, header, eoh, header), faultOrder},
		"CONNECT inside a message":  {stream(message, connect), faultOrder},
		"RCPT after abort":          {stream(message, packet(packetAbort, ""), rcptCmd), faultOrder},
		"cut in a length":           {stream(offer, []byte{0, 0}), faultTruncated},
		"cut in a body":             {stream(message, header, eoh, []byte("\x00\x00\x10\x00Bxyz")), faultTruncated},
		"cut in a large header":     {stream(message, []byte("\x00\x01\x00\x00LFrom\x00")), faultTruncated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, path := start(t, Options{Policy: testPolicy()})
			talk(t, path, test.sent)
			eventually(t, "the fault is counted", func() bool { return s.Traffic().Malformed == 1 })
			if got := testutil.ToFloat64(s.metrics.malformed.WithLabelValues(string(test.want))); got != 1 {
				t.Errorf("fault %q not counted", test.want)
			}
			eventually(t, "the connection is gone", func() bool { return s.Traffic().Connections == 0 })
			serves(t, path)
		})
	}
}

func TestSlowPeers(t *testing.T) {
	tests := map[string]struct {
		sent  []byte
		count func(s *Server) float64
	}{
		"no offer":                {nil, func(s *Server) float64 { return testutil.ToFloat64(s.metrics.silent) }},
		"silence between packets": {stream(offer, connect), func(s *Server) float64 { return testutil.ToFloat64(s.metrics.silent) }},
		"packet without an end": {stream(offer, []byte("\x00\x00\x00\x10M<a")),
			func(s *Server) float64 {
				return testutil.ToFloat64(s.metrics.malformed.WithLabelValues(string(faultSlow)))
			}},
		"body without an end": {stream(offer, connect, helo, mailCmd, rcptCmd, header, eoh, []byte("\x00\x00\x10\x00Bx")),
			func(s *Server) float64 {
				return testutil.ToFloat64(s.metrics.malformed.WithLabelValues(string(faultSlow)))
			}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "milter.sock")
			s, err := New(Options{Policy: testPolicy(), ReadTimeout: 50 * time.Millisecond,
				Listen: []Listen{{Network: "unix", Address: path}}})
			if err != nil {
				t.Fatal(err)
			}
			s.packetTime, s.negotiationTime = 50*time.Millisecond, 50*time.Millisecond
			s.Start()
			t.Cleanup(func() { shutDown(t, s) })
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(test.sent); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is counted", func() bool { return test.count(s) == 1 })
			eventually(t, "the connection is gone", func() bool { return s.Traffic().Connections == 0 })
		})
	}
}

// TestLargeHeader sends a field that is larger than the guard's buffer.
func TestLargeHeader(t *testing.T) {
	store := &shelf{}
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
	large := packet(packetHeader, "X-Large\x00"+strings.Repeat("x", 100<<10)+"\x00")
	got := talk(t, path, stream(offer, connect, helo, mailCmd, rcptCmd, header, large, eoh, chunk, eom))
	if !bytes.HasSuffix(got, packet('a', "")) {
		t.Errorf("answer %q, want accept", got)
	}
	if size := recorded(t, store.wait(t, 1)[0]).Size; size < 100<<10 {
		t.Errorf("size %d", size)
	}
}

func TestConnectionCap(t *testing.T) {
	s, path := start(t, Options{Policy: testPolicy(), MaxConnections: 2})
	a, b := dial(t, path), dial(t, path)
	if got := talk(t, path, goodStream()); len(got) != 0 {
		t.Errorf("a third connection got %q", got)
	}
	if got := testutil.ToFloat64(s.metrics.turnedAway); got != 1 {
		t.Errorf("%v connections turned away, want 1", got)
	}
	_, _ = a.Close(), b.Close()
	eventually(t, "room again", func() bool { return s.Traffic().Connections == 0 })
	serves(t, path)
}

// FuzzStreams drives whole packet streams through the real server and sees that it still serves after each.
func FuzzStreams(f *testing.F) {
	f.Add(goodStream())
	for _, seed := range deadly {
		f.Add(seed)
	}
	f.Add(stream(offer, connect, helo, mailCmd, rcptCmd, header, eoh, chunk, chunk, eom, mailCmd, rcptCmd, packet(packetAbort, ""),
		packet(packetQuitNew, ""), connect, helo, mailCmd, eom))
	_, path := start(f, Options{Policy: testPolicy(), Recorder: &shelf{}})
	f.Fuzz(func(t *testing.T, sent []byte) {
		talk(t, path, sent)
		talk(t, path, append(stream(offer, connect, helo), sent...))
		serves(t, path)
	})
}

// counting is a listener whose connections count what is written to them.
type counting struct {
	net.Listener
	writes atomic.Int64
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{conn, &l.writes}, nil
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestOneRoundTrip: besides the negotiation, a message with two signatures is answered once, in one write.
func TestOneRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	s, err := New(Options{Policy: testPolicy(), Listen: []Listen{{Network: "unix", Address: path}}})
	if err != nil {
		t.Fatal(err)
	}
	listener := &counting{Listener: s.listeners[0]}
	s.listeners[0] = listener
	s.Start()
	t.Cleanup(func() { shutDown(t, s) })
	got := talk(t, path, goodStream())
	if n := bytes.Count(got, []byte("DKIM-Signature")); n != 2 || !bytes.HasSuffix(got, packet('a', "")) {
		t.Errorf("%d signatures in %q", n, got)
	}
	if n := listener.writes.Load(); n != 2 {
		t.Errorf("%d writes, want one for the negotiation and one for the message", n)
	}
}
