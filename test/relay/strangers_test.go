package relay

import (
	"context"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/internal/relay"
	"github.com/postfleet/postfleet/test/lab"
)

// The hop port of a real node lets in nodes of the fleet and nobody else.
func TestStrangers(t *testing.T) {
	s := newSite(t, options{nodes: 2})
	stranger := lab.ForTest(t)
	s.must(stranger.InitCA(s.ctx, binary))
	for _, c := range []struct {
		name, role, who string
		of              *lab.Lab
		want            string // of the error; empty: taken
	}{
		{"a node of the fleet", "node", "n1", s.lab, ""},
		{"a node that is no member", "node", "n9", s.lab, "n9 is no member of the fleet"},
		{"an aggregator", "aggregator", "aggregator", s.lab, "bad certificate"},
		{"a node of another CA", "node", "n1", stranger, "unknown certificate authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t)
			id, err := c.of.Issue(s.ctx, binary, c.role, c.who)
			if c.name == "a node of the fleet" {
				id, err = lab.Identity{Cert: s.lab.Path("pki", "node-n1.pem"), Key: s.lab.Path("pki", "node-n1.key"), CA: s.lab.Path("pki", "ca.pem")}, nil
			}
			s.must(err)
			err = call(s.ctx, t, id, s.lab.Path("pki", "ca.pem"), s.relay[1].Hop)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("without TLS", func(t *testing.T) {
		s := s.in(t)
		conn, err := net.Dial("tcp", s.relay[1].Hop)
		s.must(err)
		defer conn.Close()
		_, err = io.WriteString(conn, "EHLO client.example\r\n")
		s.must(err)
		if got, _ := io.ReadAll(conn); strings.Contains(string(got), "220") {
			t.Errorf("greeted with %q", got)
		}
	})
}

// call asks a hop port for an SMTP session.
func call(ctx context.Context, t *testing.T, id lab.Identity, ca, address string) error {
	t.Helper()
	files, err := pki.NewFiles(pki.FileOptions{Cert: id.Cert, Key: id.Key, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	config := pki.ClientConfig(pki.Options{Source: files, Scheme: pki.FleetScheme}, pki.Identity{Role: pki.Node, Name: "n2"})
	conn, err := relay.Call(ctx, address, config, "carry")
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = textproto.NewConn(conn).ReadResponse(220)
	return err
}

// A process of the carrier's own host that reaches Postfix's service for hop mail and says, by a PROXY header, that it is
// the origin, gets no mail in: the relay knows which connections are its own.
func TestForgedProxyHeader(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.ready(0, 1)
	for _, source := range []string{"127.0.0.1:4711", "127.0.1.1:4711", "127.43.0.10:4711", "192.0.2.1:25"} {
		t.Run(source, func(t *testing.T) {
			s := s.in(t)
			conn, err := net.Dial("tcp", s.relay[1].Local)
			s.must(err)
			defer conn.Close()
			s.must(conn.SetDeadline(time.Now().Add(30 * time.Second)))
			from := netip.MustParseAddrPort(source)
			header := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"), from.Addr().AsSlice()...)
			header = append(header, 127, 0, 0, 1, byte(from.Port()>>8), byte(from.Port()), 0, 25)
			_, err = conn.Write(header)
			s.must(err)
			text := textproto.NewConn(conn)
			_, _, err = text.ReadResponse(220)
			s.must(err)
			code, reply := 250, ""
			for _, command := range []string{"EHLO n1.fleet.example", "XFORWARD IDENT=4FORGED", "MAIL FROM:<a@shop.example>", "RCPT TO:<victim@remote.example>"} {
				s.must(text.PrintfLine("%s", command))
				if code, reply, err = text.ReadResponse(250); err != nil {
					break
				}
			}
			if err == nil {
				s.must(text.PrintfLine("DATA"))
				_, _, err = text.ReadResponse(354)
			}
			if err == nil {
				s.must(text.PrintfLine("Subject: forged\r\n\r\nforged\r\n."))
				code, reply, err = text.ReadResponse(250)
			}
			if err == nil || code/100 != 4 {
				t.Errorf("the last reply was %d %s", code, reply)
			}
		})
	}
	for _, taken := range s.tap.Taken() {
		t.Errorf("the remote server got %q", taken.Content)
	}
	// The way in is open all the same.
	if way := s.arrived(s.send(0, mail("a@shop.example", "user@remote.example"))); way != "n1>n2" {
		t.Errorf("went %s", way)
	}
}
