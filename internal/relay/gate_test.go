package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/pki"
)

// What Postfix says at a gate arrives at the carrier's Postfix, and the other way round, whole and in order; the end of one
// direction leaves the other open.
func TestHandOver(t *testing.T) {
	for _, c := range []struct{ name, node string }{{"to a member", "n2"}, {"to any", ""}} {
		t.Run(c.name, func(t *testing.T) {
			origin, carrier := twoHosts(t)
			if c.node == "" {
				origin.change(func() { origin.settings.Relay.Mode = fleet.RelayFailover })
			}
			client := origin.dialGate(t, c.node)
			server, source := carrier.accept(t)
			greets(t, client)
			if got := carrier.origin(source); got != "n1 true" {
				t.Errorf("the milter would hear %s", got)
			}
			mail := make([]byte, 3<<20)
			rand.Read(mail)
			go func() {
				_, _ = client.Write(mail)
				_ = client.CloseWrite()
			}()
			got, err := io.ReadAll(server)
			if err != nil || !bytes.Equal(got, mail) {
				t.Fatalf("%d bytes of %d arrived, %v", len(got), len(mail), err)
			}
			if _, err := io.WriteString(server, "250 2.0.0 Ok: queued as 4XYZ\r\n"); err != nil {
				t.Fatal(err)
			}
			server.Close()
			reply, err := io.ReadAll(client)
			if err != nil || string(reply) != "250 2.0.0 Ok: queued as 4XYZ\r\n" {
				t.Errorf("replied %q, %v", reply, err)
			}
			eventually(t, "the connection is forgotten", func() bool { return carrier.origin(source) == " false" })
			if state := origin.State(); state.Handed != 1 || carrier.State().Taken != 1 {
				t.Errorf("handed %d, taken %d", state.Handed, carrier.State().Taken)
			}
		})
	}
}

// What the log tells of a connection names the node behind it, also where the port isn't known.
func TestNode(t *testing.T) {
	origin, _ := twoHosts(t)
	member, known := origin.book.address("n2")
	if !known {
		t.Fatal("n2 has no gate")
	}
	gate := int(origin.port)
	for _, c := range []struct {
		addr string
		port int
		want string
	}{
		{member.String(), gate, "n2"}, {member.String(), 0, "n2"}, {member.String(), 25, ""},
		{anyCarrier.String(), gate, fleet.AnyCarrier}, {anyCarrier.String(), 0, fleet.AnyCarrier}, {anyCarrier.String(), 25, ""},
		{"192.0.2.1", gate, ""}, {"192.0.2.1", 0, ""}, {"", 0, ""},
	} {
		if got := origin.Node(c.addr, c.port); got != c.want {
			t.Errorf("%q port %d: %q, want %q", c.addr, c.port, got, c.want)
		}
	}
}

// A carrier that goes away in the middle ends Postfix's connection at once, so that it tries elsewhere.
func TestCarrierGoesAway(t *testing.T) {
	origin, carrier := twoHosts(t)
	client := origin.dialGate(t, "n2")
	carrier.accept(t)
	greets(t, client)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := carrier.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A carrier whose Postfix hangs, or that is cut off once it took the connection, is left for the next.
func TestCarrierIsSilent(t *testing.T) {
	for _, c := range []struct{ name, node string }{{"a member", "n2"}, {"any", ""}} {
		t.Run(c.name, func(t *testing.T) {
			origin, carrier := twoHosts(t)
			if c.node == "" {
				origin.change(func() { origin.settings.Relay.Mode = fleet.RelayFailover })
			}
			refused(t, origin.dialGate(t, c.node), "n2: its Postfix doesn't greet")
			if state := origin.State(); state.Handed != 0 {
				t.Errorf("handed %d", state.Handed)
			}
			eventually(t, "n2 is no candidate", func() bool { return origin.view.Load().why["n2"] != "" })
			if conn, err := carrier.local.Accept(); err != nil {
				t.Error(err)
			} else {
				conn.Close()
			}
		})
	}
}

// A node that stops doesn't wait for a carrier that hangs, nor does it hold that against it.
func TestStopGivesUpCalls(t *testing.T) {
	for _, c := range []struct{ name, node string }{{"a member", "n2"}, {"any", ""}} {
		t.Run(c.name, func(t *testing.T) {
			origin, carrier := twoHosts(t)
			if c.node == "" {
				origin.change(func() { origin.settings.Relay.Mode = fleet.RelayFailover })
			}
			client := origin.dialGate(t, c.node)
			conn, err := carrier.local.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- origin.Stop(ctx) }()
			select {
			case err := <-stopped:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("still waiting for the greeting")
			}
			if heard, err := io.ReadAll(client); len(heard) > 0 && !strings.Contains(string(heard), errStopping.Error()) || err != nil && !closed(err) {
				t.Errorf("Postfix hears %q, %v", heard, err)
			}
			if got := origin.logs.FilterMessage("a node takes no mail").Len(); got != 0 {
				t.Errorf("the carrier is told of %d times", got)
			}
		})
	}
}

// Both ends notice that the other host is gone.
func TestVanishedHostsAreNoticed(t *testing.T) {
	origin, carrier := twoHosts(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	accepted := make(chan net.Conn, 1)
	l, err := listenTCP("127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	other, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := <-accepted
	defer taken.Close()
	called, err := Call(ctx, carrier.hop.Addr().String(), origin.o.Client("n2"), probeLine)
	if err != nil {
		t.Fatal(err)
	}
	defer called.Close()
	for side, conn := range map[string]net.Conn{"the one that calls": called.NetConn(), "the one that takes": taken} {
		if got := option(t, conn, unix.TCP_USER_TIMEOUT); got != int(vanishAfter/time.Millisecond) {
			t.Errorf("%s: %d ms", side, got)
		}
		if got := option(t, conn, unix.TCP_KEEPIDLE); got != int(keepAlive/time.Second) {
			t.Errorf("%s: probes after %d s", side, got)
		}
	}
}

func option(t *testing.T, conn net.Conn, name int) (value int) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { value, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return value
}

// Who can't carry is said in the greeting, upon which Postfix takes the next hop.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, want string
		prepare    func(origin, carrier *host)
	}{
		{"unfit by what the origin knows", "n2: draining", func(origin, _ *host) {
			origin.change(func() { origin.members[0].Fit, origin.members[0].Unfit = false, "draining" })
		}},
		{"unfit by its own word", "n2: queue: 9 of at most 5", func(_, carrier *host) {
			carrier.change(func() { carrier.unfit = "queue: 9 of at most 5" })
		}},
		{"no member any more", "n2 is no member of the fleet", func(origin, _ *host) {
			origin.change(func() { origin.members = nil })
		}},
		{"not reached", "n2: not reached", func(_, carrier *host) {
			carrier.hop.Close()
		}},
		{"the origin is no member there", "n1 is no member of the fleet", func(_, carrier *host) {
			carrier.change(func() { carrier.members = nil })
		}},
		{"the origin may not", "the settings don't let n1 hand mail over", func(_, carrier *host) {
			carrier.change(func() { carrier.settings.Relay.Originate = []string{"n3"} })
		}},
		{"the carrier may not", notSet, func(_, carrier *host) {
			carrier.change(func() { carrier.settings.Relay.Carry = []string{"n3"} })
		}},
		{"mail would go round there", "n2: content_filter of its service", func(_, carrier *host) {
			carrier.change(func() { carrier.unsafe = "content_filter of its service" })
		}},
		{"no Postfix there", "its Postfix takes no mail", func(_, carrier *host) { carrier.local.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin, carrier := twoHosts(t)
			c.prepare(origin, carrier)
			refused(t, origin.dialGate(t, "n2"), c.want)
			if strings.HasPrefix(c.name, "no Postfix") {
				carrier.local = relisten(t, carrier.o.Local) // for the clean-up
			}
		})
	}
	t.Run("nobody at all", func(t *testing.T) {
		origin, _ := twoHosts(t)
		origin.change(func() { origin.members = nil })
		refused(t, origin.dialGate(t, ""), errNoCarrier.Error())
	})
}

func relisten(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A member that was not reached is left out for a while, so that not every message runs into it.
func TestShunned(t *testing.T) {
	origin, carrier := twoHosts(t)
	carrier.hop.Close()
	refused(t, origin.dialGate(t, "n2"), "not reached")
	eventually(t, "n2 is no candidate", func() bool {
		return len(origin.view.Load().base.candidates) == 1 && strings.Contains(origin.State().Candidates[1].Reason, "not reached")
	})
	if reason := origin.State().Reason; reason != errNoCarrier.Error() {
		t.Errorf("reason %q", reason)
	}
	origin.Relay.mu.Lock()
	origin.shunned["n2"] = shunned{until: time.Now(), reason: "long ago"}
	origin.Relay.mu.Unlock()
	origin.refresh()
	if !origin.view.Load().base.has("n2") {
		t.Error("n2 is still left out")
	}
}

// Nobody but nodes of the fleet gets past the handshake of the hop port, and nothing but its protocol past the first line.
func TestStrangersAtTheHopPort(t *testing.T) {
	ca, roots := authority(t)
	other, _ := authority(t)
	carrier := newHost(t, "n2", issue(t, ca, roots, pki.Identity{Role: pki.Node, Name: "n2"}))
	carrier.change(func() { carrier.members = []fleet.Member{fit("n1")} })
	address := carrier.hop.Addr().String()
	call := func(id pki.Options, what string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := Call(ctx, address, pki.ClientConfig(id, pki.Identity{Role: pki.Node, Name: "n2"}), what)
		if err == nil {
			conn.Close()
		}
		return err
	}
	node := func(name string) pki.Identity { return pki.Identity{Role: pki.Node, Name: name} }
	for _, c := range []struct {
		name string
		id   pki.Options
		what string
		want string // of the error
	}{
		{"another CA", issue(t, other, roots, node("n1")), carryLine, "unknown certificate authority"},
		{"an aggregator", issue(t, ca, roots, pki.Identity{Role: pki.Aggregator, Name: "n1"}), carryLine, "bad certificate"},
		{"no member", issue(t, ca, roots, node("n7")), carryLine, "n7 is no member"},
		{"the node itself", issue(t, ca, roots, node("n2")), carryLine, "the same node"},
		{"another request", issue(t, ca, roots, node("n1")), "EHLO n1", "no answer"},
		{"a member", issue(t, ca, roots, node("n1")), probeLine, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := call(c.id, c.what)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := request(conn, carryLine); err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("%v", err)
		}
	})
	t.Run("plain SMTP", func(t *testing.T) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); bytes.Contains(got, []byte("220")) || bytes.Contains(got, []byte("250")) {
			t.Errorf("answered %q, %v", got, err)
		}
	})
	if taken := carrier.State().Taken; taken != 0 {
		t.Errorf("%d connections were taken", taken)
	}
	if err := carrier.local.(*net.TCPListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if conn, err := carrier.local.Accept(); err == nil {
		conn.Close()
		t.Error("something reached Postfix")
	}
}

func TestReadLine(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		err            error
	}{
		{"line", "ok\nSMTP", "ok", nil},
		{"nothing", "", "", io.ErrUnexpectedEOF},
		{"no end", "ok", "", io.ErrUnexpectedEOF},
		{"too long", strings.Repeat("x", maxLine) + "\n", "", errLine},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := strings.NewReader(c.in)
			got, err := readLine(in)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.err)
			}
			if rest, _ := io.ReadAll(in); c.name == "line" && string(rest) != "SMTP" {
				t.Errorf("%q is left", rest)
			}
		})
	}
}

// What another node says goes into an SMTP greeting and the log: no line end of its own gets there.
func TestReasonsAreTamed(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		_, _ = readLine(far)
		_, _ = io.WriteString(far, "no \x1b[31mgo\r away\u202e\n")
		far.Close()
	}()
	defer near.Close()
	var reason *refusedError
	if err := request(near, carryLine); !errors.As(err, &reason) || reason.Error() != "?[31mgo? away???" && reason.Error() != "?[31mgo? away?" {
		t.Errorf("%v", err)
	}
}
