package signing

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// sink is an SMTP server that keeps every byte of what it is sent, by recipient. Lines end with CR LF there and nowhere else:
// a stray CR or LF is content.
type sink struct {
	addr string

	mu    sync.Mutex
	taken map[string][]byte
}

func startSink(t *testing.T) *sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: listener.Addr().String(), taken: map[string][]byte{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return s
}

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	in := bufio.NewReader(conn)
	say := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 sink ESMTP")
	var to string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "EHLO":
			say("250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE")
		case "RCPT":
			to = line[strings.IndexByte(line, '<')+1 : strings.IndexByte(line, '>')]
			say("250 2.1.5 Ok")
		case "DATA":
			say("354 go on")
			content, err := readData(in)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.taken[to] = content
			s.mu.Unlock()
			say("250 2.0.0 Ok")
		case "QUIT":
			say("221 2.0.0 Bye")
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}

// readData reads up to CR LF . CR LF and takes the stuffed dots away.
func readData(in io.ByteReader) ([]byte, error) {
	content := []byte("\r\n") // so that a dot on the first line is found too
	for !bytes.HasSuffix(content, []byte("\r\n.\r\n")) {
		b, err := in.ReadByte()
		if err != nil {
			return nil, err
		}
		content = append(content, b)
	}
	content = bytes.TrimSuffix(content, []byte(".\r\n"))
	return bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n"))[2:], nil
}

// wait waits for the message to a recipient.
func (s *sink) wait(t *testing.T, to string) []byte {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		s.mu.Lock()
		content, ok := s.taken[to]
		s.mu.Unlock()
		if ok {
			return content
		}
	}
	t.Fatalf("no message for %s arrived within a minute", to)
	return nil
}
