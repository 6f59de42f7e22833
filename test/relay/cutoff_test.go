package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// A carrier whose cable is pulled says no goodbye. Connections to it end all the same, whether something was said to it or not,
// long before Postfix's own patience, five minutes a command, is over.
func TestCutOff(t *testing.T) {
	t.Parallel()
	within, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := &site{t: t, ctx: within, lab: lab.ForTest(t)}
	hosts := s.onHosts(2)
	waiting, speaking := s.greeted(hosts[0]), s.greeted(hosts[0])
	s.must(hosts[1].Cut(within))
	if _, err := fmt.Fprint(speaking, "EHLO n1.fleet.example\r\n"); err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"waiting": waiting, "speaking": speaking} {
		s.must(conn.SetReadDeadline(time.Now().Add(2 * time.Minute)))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	s.until(func(ctx) error { // the carrier's Postfix isn't held up either
		log, err := s.nodes[1].Postfix.LogContent()
		if err != nil {
			return err
		}
		if came, went := len(hopCame.FindAll(log, -1)), len(hopWent.FindAll(log, -1)); came < 2 || went < came {
			return fmt.Errorf("on the carrier %d connections of %d have ended", went, came)
		}
		return nil
	})
}

var (
	hopCame = regexp.MustCompile(`/postfleet-hop/smtpd\[\d+\]: connect from `)
	hopWent = regexp.MustCompile(`/postfleet-hop/smtpd\[\d+\]: disconnect from `)
)

// onHosts starts nodes on hosts of their own that relay through each other, in balance.
func (s *site) onHosts(nodes int) (hosts []*lab.Host) {
	s.t.Helper()
	s.must(s.lab.InitCA(s.ctx, binary))
	network, err := s.lab.StartNetwork(s.ctx, netip.MustParsePrefix("10.98.0.0/24"))
	s.must(err)
	for i := range nodes {
		ip := fmt.Sprintf("10.98.0.%d", i+1)
		host, err := network.StartHost(s.ctx, lab.HostOptions{Name: name(i), IP: ip})
		s.must(err)
		relay, err := s.lab.NewRelay(name(i))
		s.must(err)
		relay.Hop, relay.API, relay.Local, relay.Gate = ip+":8529", ip+":8525", "127.0.0.1:10026", gatePort
		hosts, s.relay = append(hosts, host), append(s.relay, relay)
	}
	for i, host := range hosts {
		keys, err := s.lab.Mkdir("keys-" + name(i))
		s.must(err)
		s.must(s.lab.Keygen(s.ctx, binary, keys, name(i), []string{"shop.example"}))
		id, err := s.lab.Issue(s.ctx, binary, "node", name(i))
		s.must(err)
		postfix, err := s.lab.StartPostfix(s.ctx, lab.PostfixOptions{Name: name(i), Host: host, Milter: "unix:" + s.lab.MilterSocket(name(i)),
			Main: s.relay[i].Main(), Services: s.relay[i].Services(false)})
		s.must(err)
		node, err := s.lab.StartNode(s.ctx, binary, lab.NodeOptions{Name: name(i), Host: host, Postfix: postfix, API: s.relay[i].API, Keys: keys,
			TLS: id, Extra: s.relay[i].Config("mode: balance", s.relay...)})
		s.must(err)
		s.nodes = append(s.nodes, node)
	}
	return hosts
}

const (
	gatePort = 10029
	gateOfN2 = "127.43.0.10" // the first that is given
)

// greeted connects to n2 through a host's gate, as Postfix does, and hears n2's Postfix.
func (s *site) greeted(on *lab.Host) (conn net.Conn) {
	s.t.Helper()
	s.until(func(ctx context.Context) error {
		candidate, err := on.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", gateOfN2, gatePort))
		if err != nil {
			return err
		}
		greeting, err := bufio.NewReader(candidate).ReadString('\n')
		if err != nil || !strings.HasPrefix(greeting, "220 ") {
			return errors.Join(fmt.Errorf("greeted with %q: %w", greeting, err), candidate.Close())
		}
		conn = candidate
		return nil
	})
	s.t.Cleanup(func() { conn.Close() })
	return conn
}
