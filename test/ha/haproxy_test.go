package ha

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// The variants of the template.
const (
	shared  = "haproxy/haproxy.cfg"
	primary = "haproxy/haproxy-primary.cfg"
)

// balancer is a running HAProxy.
type balancer struct {
	*lab.Process
	socket string // of its runtime API (https://docs.haproxy.org/2.6/management.html#9.3)
}

// startHAProxy runs HAProxy on front with a template of packaging.
func (s *site) startHAProxy(ctx context.Context, template string) (*balancer, error) {
	text, err := packaged(template)
	if err != nil {
		return nil, err
	}
	b := &balancer{socket: s.Path("haproxy", "admin.sock")}
	text, err = replace(text, map[string]string{
		"    log /dev/log local0": "    log stdout format raw local0",
		"    stats socket /run/haproxy/admin.sock mode 660 level operator": "    stats socket " + b.socket + " mode 660 level operator",
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", template, err)
	}
	path, err := s.WriteFile("haproxy/haproxy.cfg", []byte(text), 0o644)
	if err != nil {
		return nil, err
	}
	if b.Process, err = s.front.Start("haproxy/haproxy", "haproxy", "-db", "-f", path); err != nil {
		return nil, err
	}
	return b, b.Ready(ctx, lab.Listens("unix", b.socket))
}

// server is a slot of a backend that has an address.
type server struct {
	up     bool
	weight int    // HAProxy's own, 0 to 256
	since  string // seconds since its last change
	slot   string
}

// servers asks HAProxy for its servers, by address.
func (b *balancer) servers(ctx context.Context) (map[string]server, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", b.socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, "show servers state nodes"); err != nil {
		return nil, err
	}
	servers := map[string]server{}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		// be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight
		// srv_time_since_last_change …
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || strings.HasPrefix(fields[0], "#") || fields[4] == "-" {
			continue
		}
		const running, inMaintenance = "2", 0x01 | 0x02 | 0x04 | 0x20 // by hand, by another server, by the file, without an address
		var admin int
		one := server{slot: fields[3], since: fields[9]}
		if _, err := fmt.Sscan(fields[6]+" "+fields[7], &admin, &one.weight); err != nil {
			return nil, fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		one.up = fields[5] == running && admin&inMaintenance == 0
		servers[fields[4]] = one
	}
	if len(servers) == 0 {
		return nil, errors.New("HAProxy has no server with an address")
	}
	return servers, nil
}

// balances is a check that HAProxy gives mail to these nodes, and to no other.
func (b *balancer) balances(nodes ...*node) func(context.Context) error {
	var want []string
	for _, n := range nodes {
		want = append(want, n.host.IP)
	}
	return func(ctx context.Context) error {
		servers, err := b.servers(ctx)
		if err != nil {
			return err
		}
		var got []string
		for address, server := range servers {
			if server.up {
				got = append(got, address)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("HAProxy's servers are %v, want %v", got, want)
		}
		return nil
	}
}

// HAProxy takes the templates as they are.
func TestHAProxyTemplates(t *testing.T) {
	need(t, "haproxy")
	for _, template := range []string{shared, primary} {
		t.Run(filepath.Base(template), func(t *testing.T) {
			if out, err := exec.Command("haproxy", "-c", "-f", filepath.Join("../../packaging", template)).CombinedOutput(); err != nil ||
				strings.Contains(string(out), "WARNING") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if version, err := exec.Command("haproxy", "-v").Output(); err != nil || !strings.HasPrefix(string(version), "HAProxy version ") {
		t.Errorf("%v, %s", err, version)
	}
}

// Through HAProxy the fleet sees the client's own address: it is recorded, and decides about the signature. Shares follow
// the weights in Consul.
func TestHAProxy(t *testing.T) {
	ctx := lab.Within(t, 4*time.Minute)
	s := startSite(t, ctx, siteOptions{consul: func(number int) string {
		if number == 1 {
			return ", weight: 2, mail_tags: [primary]"
		}
		return ", weight: 1, mail_tags: [backup]"
	}})
	b, err := s.startHAProxy(ctx, shared)
	must(t, err)
	until(t, ctx, b.balances(s.nodes...))

	t.Run("metrics", func(t *testing.T) {
		out, err := s.front.HTTP().Get("http://127.0.0.1:8405/metrics")
		must(t, err)
		defer out.Body.Close()
		metrics, err := io.ReadAll(out.Body)
		must(t, err)
		for _, slot := range []string{"node1", "node2", "node3"} {
			if want := `haproxy_server_status{proxy="nodes",server="` + slot + `",state="UP"} 1`; !strings.Contains(string(metrics), want) {
				t.Errorf("no %s", want)
			}
		}
	})

	t.Run("client's address", func(t *testing.T) {
		for _, c := range []struct {
			from   string
			signed bool
		}{{clientIP, true}, {stranger, false}} {
			sender := s.throughHAProxy()
			sender.from = c.from
			mail := mailFor("whose address")
			sender.deliver(ctx, mail)
			until(t, ctx, s.sink.arrived(mail.ID))
			signers, err := s.signers(s.sink.taken()[mail.ID][0].content)
			if err != nil || (len(signers) > 0) != c.signed {
				t.Errorf("mail from %s was signed by %v (%v), want a signature: %t", c.from, signers, err, c.signed)
			}
			recorded, err := s.recorded(ctx, mail.ID)
			must(t, err)
			if recorded.Client.Addr != c.from {
				t.Errorf("mail from %s is recorded with the client %q", c.from, recorded.Client.Addr)
			}
		}
	})

	t.Run("TLS is the node's", func(t *testing.T) {
		conn, err := s.client.DialContext(ctx, "tcp", net.JoinHostPort(frontIP, "25"))
		must(t, err)
		defer conn.Close()
		text := textproto.NewConn(conn)
		_, greeting, err := text.ReadResponse(220)
		must(t, err)
		must(t, text.PrintfLine("STARTTLS"))
		_, _, err = text.ReadResponse(220)
		must(t, err)
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the certificate is what is looked at
		must(t, secure.HandshakeContext(ctx))
		name := secure.ConnectionState().PeerCertificates[0].Subject.CommonName
		if host, _, _ := strings.Cut(greeting, " "); name != host {
			t.Errorf("%q greets, and the certificate is for %s", greeting, name)
		}
	})

	t.Run("weights", func(t *testing.T) {
		// Weight 2 beside 1 and 1: half of the mail.
		sender, share := s.throughHAProxy(), map[string]int{}
		const mails = 40
		for range mails {
			sender.deliver(ctx, mailFor("weight"))
		}
		for _, mail := range sender.sentMails() {
			until(t, ctx, s.sink.arrived(mail.id))
			share[s.sink.taken()[mail.id][0].way[0].node]++
		}
		t.Logf("share of %d mails: %v", mails, share)
		if share["n1"] != mails/2 || share["n2"] != mails/4 || share["n3"] != mails/4 {
			t.Errorf("share of %d mails: %v, want a half for n1 and a quarter for each of the others", mails, share)
		}
	})

	must(t, b.Stop())
	if b, err = s.startHAProxy(ctx, primary); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, b.balances(s.nodes...))
	t.Run("primary and backup", func(t *testing.T) {
		sender := s.throughHAProxy()
		ways := func(count int) map[string]int {
			t.Helper()
			share := map[string]int{}
			for range count {
				mail := mailFor("primary")
				sender.deliver(ctx, mail)
				until(t, ctx, s.sink.arrived(mail.ID))
				share[s.sink.taken()[mail.ID][0].way[0].node]++
			}
			return share
		}
		if share := ways(10); share["n1"] != 10 {
			t.Errorf("with the primary: %v", share)
		}
		must(t, s.nodes[0].postfix.Stop())
		until(t, ctx, b.balances(s.nodes[1], s.nodes[2]))
		if share := ways(10); share["n2"] != 5 || share["n3"] != 5 {
			t.Errorf("without the primary: %v", share)
		}
		must(t, s.nodes[0].postfix.Start(ctx))
		until(t, ctx, b.balances(s.nodes...))
		if share := ways(10); share["n1"] != 10 {
			t.Errorf("with the primary again: %v", share)
		}
	})
}
