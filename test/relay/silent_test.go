package relay

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/test/lab"
)

// A carrier that says it would carry, and then swallows what it gets, before its word or after it, costs a mail moments: the next
// takes it in the same attempt.
func TestSilentCarrier(t *testing.T) {
	for name, promises := range map[string]string{"no answer": "", "no greeting": "ok\n"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, options{settings: "mode: balance\ncarry: [n2, n3]\nrules: [{domain: failover.example, mode: failover}]",
				names: []map[string]string{{"refuses.example": "127.199.199.199"}}})
			for i := range 2 {
				s.must(s.nodes[i+1].Postfix.Name("refuses.example", s.ip))
			}
			s.must(s.nodes[1].Kill())
			s.swallow(1, promises)
			s.ready(0, 2)
			for _, m := range []lab.Mail{mail("a@shop.example", "user@remote.example"), mail("b@failover.example", "user@refuses.example")} {
				for range 4 {
					if way := s.arrived(s.send(0, m)); way != "n1>n3" {
						t.Errorf("%s: went %s, want n1>n3", m.From, way)
					}
				}
			}
			log, err := s.nodes[0].Postfix.LogContent()
			s.must(err)
			if strings.Contains(string(log), "status=deferred") {
				t.Errorf("not in the same attempt:\n%s", log)
			}
		})
	}
}

// swallow takes a node's place at its hop port, with its certificate. It says "ok" to probes, and to a mail what it is told to;
// then it is silent.
func (s *site) swallow(i int, promise string) {
	s.t.Helper()
	holder := "node-" + name(i)
	files, err := pki.NewFiles(pki.FileOptions{Cert: s.lab.Path("pki", holder+".pem"), Key: s.lab.Path("pki", holder+".key"),
		CA: s.lab.Path("pki", "ca.pem"), Log: zap.NewNop()})
	s.must(err)
	l, err := tls.Listen("tcp", s.relay[i].Hop, pki.ServerConfig(pki.Options{Source: files, Scheme: pki.FleetScheme}, pki.Node))
	s.must(err)
	var open sync.Map
	var running sync.WaitGroup
	s.t.Cleanup(func() {
		l.Close()
		open.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, nil)
			running.Go(func() {
				defer conn.Close()
				lines := bufio.NewScanner(conn)
				if !lines.Scan() {
					return
				}
				answer := promise
				if strings.HasSuffix(lines.Text(), " probe") {
					answer = "ok\n"
				}
				if _, err := conn.Write([]byte(answer)); err != nil {
					return
				}
				for lines.Scan() {
				}
			})
		}
	})
}
