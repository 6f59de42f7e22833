package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestReadNetstring(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		err            error // io.EOF and the like; nil with no want: errNetstring
	}{
		{name: "query", in: "13:relay a@b.exa,", want: "relay a@b.exa"},
		{name: "empty", in: "0:,", want: ""},
		{name: "nothing", in: "", err: io.EOF},
		{name: "no comma", in: "3:abc.", err: errNetstring},
		{name: "no digits", in: ":abc,", err: errNetstring},
		{name: "leading zero", in: "03:abc,", err: errNetstring},
		{name: "negative", in: "-3:abc,", err: errNetstring},
		{name: "too long", in: "10101:" + strings.Repeat("x", 10101) + ",", err: errNetstring},
		{name: "far too long", in: "999999999999999999999:", err: errNetstring},
		{name: "longest", in: "10100:" + strings.Repeat("x", 10100) + ",", want: strings.Repeat("x", 10100)},
		{name: "cut in the length", in: "12", err: io.ErrUnexpectedEOF},
		{name: "cut in the text", in: "12:relay", err: io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readNetstring(bufio.NewReader(strings.NewReader(c.in)), nil)
			if !errors.Is(err, c.err) || err == nil && string(got) != c.want {
				t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

func FuzzReadNetstring(f *testing.F) {
	for _, seed := range []string{"13:relay a@b.exa,", "0:,", "999:", "03:abc,", "3:abc,5:hello,"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		for {
			got, err := readNetstring(r, nil)
			if err != nil {
				return
			}
			if len(got) > maxQuery {
				t.Fatalf("%d bytes", len(got))
			}
			if !bytes.Contains(in, appendNetstring(nil, string(got))) {
				t.Fatalf("%q is not in %q", got, in)
			}
		}
	})
}

// Whatever comes in at the map, it answers or closes: no query makes it name a next hop that is none.
func FuzzMap(f *testing.F) {
	r := answering(f)
	for _, seed := range []string{"relay a@b.example", "relay <>", `relay "<>"`, "relay ", "relay", "other a@b", "relay \x00\r\n@[::1]", "relay @"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		got := r.query(query)
		for _, begin := range []string{"NOTFOUND ", "OK postfleet-hop:[127.43.0.", "PERM "} {
			if strings.HasPrefix(got, begin) {
				return
			}
		}
		t.Errorf("%q: %q", query, got)
	})
}

// answering is a Relay with a view of three nodes in balance and no sockets.
func answering(tb testing.TB) *Relay {
	tb.Helper()
	r := relayOf()
	r.o.Now, r.metrics, r.log = time.Now, newMetrics(registry()), quiet
	r.view.Store(newView(circumstances{self: "n1", relay: fleet.Relay{Mode: fleet.RelayBalance},
		members: []fleet.Member{fit("n2"), fit("n3")}, gate: gates}))
	return r
}

func TestMapConversation(t *testing.T) {
	r := answering(t)
	for _, c := range []struct{ name, in, want string }{
		{"another map", "9:debug a@b,", "37:PERM the only map here is relay"},
		{"no key", "5:relay,", "PERM "},
		{"garbage", "GET / HTTP/1.1\r\n\r\n", ""},
		{"cut", "100:relay a", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer far.Close()
				r.serveMap(far)
			}()
			t.Cleanup(func() { near.Close(); <-done })
			go func() {
				_, _ = io.WriteString(near, c.in)
				if c.name == "cut" {
					near.Close()
				}
			}()
			if c.want == "" {
				if got, err := io.ReadAll(near); len(got) > 0 {
					t.Errorf("answered %q, %v", got, err)
				}
				return
			}
			got, err := readNetstring(bufio.NewReader(near), nil)
			if want := c.want[strings.IndexByte(c.want, ':')+1:]; err != nil || !strings.HasPrefix(string(got), want) {
				t.Errorf("answered %q, %v; want %q", got, err, want)
			}
		})
	}
}

// BenchmarkLookup asks over a unix socket as Postfix does and reports how long the slowest of a hundred questions took. The
// promise is 99 % within a millisecond.
func BenchmarkLookup(b *testing.B) {
	r := answering(b)
	socket := b.TempDir() + "/map"
	l, err := listenMap(Listen{Network: "unix", Address: socket})
	if err != nil {
		b.Fatal(err)
	}
	l.serve(r.serveMap)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	in, took := bufio.NewReader(conn), make([]time.Duration, 0, b.N)
	var buf []byte
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		if _, err := conn.Write(appendNetstring(nil, fmt.Sprintf("relay user%d@example.com", i))); err != nil {
			b.Fatal(err)
		}
		if buf, err = readNetstring(in, buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	b.StopTimer()
	slices.Sort(took)
	within := 0
	for _, d := range took {
		if d <= time.Millisecond {
			within++
		}
	}
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(100*float64(within)/float64(len(took)), "%-within-1ms")
	conn.Close()
	l.stop(b.Context())
}
