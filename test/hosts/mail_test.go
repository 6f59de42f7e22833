package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/test/lab"
)

// received is a mail that came to the outside.
type received struct {
	Peer string `json:"peer"`
	Data string `json:"data"`
	id   string
}

// sent is a mail that a node took from the client outside.
type sent struct {
	ID     string `json:"id"`
	Server string `json:"server"`
	Tries  int    `json:"tries"`
}

// mails are those that came so far, by id.
func (s *site) mails(t *testing.T, ctx context.Context) map[string][]received {
	t.Helper()
	all := map[string][]received{}
	for line := range strings.Lines(s.on(t, ctx, s.outside, "cat /var/log/mails 2>/dev/null || true")) {
		var one received
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		message, err := mail.ReadMessage(strings.NewReader(one.Data))
		if err != nil {
			t.Fatal(err)
		}
		one.id, _, _ = strings.Cut(strings.Trim(message.Header.Get("Message-ID"), "<>"), "@")
		all[one.id] = append(all[one.id], one)
	}
	return all
}

// throughDNS are the flags of a client that asks the mail service's name for its servers.
const throughDNS = "-name smtp-out.service.consul -dns 10.77.0.11 -port 25"

// throughHAProxy are those of one that knows the balancer.
const throughHAProxy = "-name 10.77.0.11 -port 2500"

// send sends mails from the outside and waits until all are taken.
func (s *site) send(t *testing.T, ctx context.Context, flags string) []sent {
	t.Helper()
	return parse(t, s.on(t, ctx, s.outside, "outside send "+flags))
}

func parse(t *testing.T, text string) (list []sent) {
	t.Helper()
	for line := range strings.Lines(text) {
		var one sent
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, one)
	}
	return list
}

// startLoad sends through DNS and HAProxy until the returned function is called, which gives what was taken.
func (s *site) startLoad(t *testing.T, ctx context.Context, name string) func() []sent {
	t.Helper()
	units := map[string]string{"dns": throughDNS, "haproxy": throughHAProxy}
	for way, flags := range units {
		s.on(t, ctx, s.outside, fmt.Sprintf("systemd-run --quiet --unit=load-%s-%s --property=StandardOutput=file:/var/log/load-%s-%s "+
			"outside send %s -count 0 -every 250ms -id %s-%s", name, way, name, way, flags, name, way))
	}
	return func() (all []sent) {
		for way := range units {
			unit := "load-" + name + "-" + way
			// A client that gave up is gone, and says why.
			if state := s.on(t, ctx, s.outside, "systemctl is-active "+unit+" || true"); state != "active" {
				t.Errorf("%s: %s", unit, s.on(t, ctx, s.outside, "journalctl --no-pager -u "+unit))
				continue
			}
			s.on(t, ctx, s.outside, "systemctl stop "+unit)
			all = append(all, parse(t, s.on(t, ctx, s.outside, "cat /var/log/"+unit))...)
		}
		return all
	}
}

// arrived waits until every mail has come, once, and checks its signatures by the records that are in DNS. It tells by
// which selectors they were.
func (s *site) arrived(t *testing.T, ctx context.Context, list []sent) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var came map[string][]received
	err := lab.Until(ctx, func(ctx context.Context) error {
		came = s.mails(t, ctx)
		for _, one := range list {
			if len(came[one.ID]) == 0 {
				return fmt.Errorf("mail %s, taken by %s, has not come", one.ID, one.Server)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	selectors := map[string]int{}
	for _, one := range list {
		copies := came[one.ID]
		if len(copies) > 1 {
			t.Errorf("mail %s came %d times", one.ID, len(copies))
		}
		for _, mail := range copies {
			for _, selector := range s.verify(t, ctx, mail) {
				selectors[selector]++
			}
		}
	}
	return selectors
}

// verify holds a mail's signatures against DNS and gives their selectors.
func (s *site) verify(t *testing.T, ctx context.Context, mail received) (selectors []string) {
	t.Helper()
	checks, err := msgauth.VerifyWithOptions(strings.NewReader(mail.Data), &msgauth.VerifyOptions{MaxVerifications: 10,
		LookupTXT: func(name string) ([]string, error) { return s.txt(ctx, name) }})
	if err != nil || len(checks) == 0 {
		t.Errorf("mail %s is not signed: %v", mail.id, err)
	}
	for _, check := range checks {
		if check.Err != nil {
			t.Errorf("mail %s: %v", mail.id, check.Err)
		}
	}
	message, err := mailHeader(mail.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range message["Dkim-Signature"] {
		for _, tag := range strings.Split(field, ";") {
			if selector, found := strings.CutPrefix(strings.TrimSpace(tag), "s="); found {
				selectors = append(selectors, selector)
			}
		}
	}
	sorted := slices.Clone(selectors)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(selectors) {
		t.Errorf("mail %s has two signatures by one selector: %v", mail.id, selectors)
	}
	return selectors
}

func mailHeader(data string) (mail.Header, error) {
	message, err := mail.ReadMessage(strings.NewReader(data))
	if err != nil {
		return nil, err
	}
	return message.Header, nil
}

// txt asks the outside's name server.
func (s *site) txt(ctx context.Context, name string) ([]string, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	query.SetEdns0(4096, false)
	conn, err := s.control.DialContext(ctx, "udp", net.JoinHostPort(outsideIP, "53"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	asking := dns.Conn{Conn: conn, UDPSize: 4096}
	if err := errors.Join(conn.SetDeadline(time.Now().Add(10*time.Second)), asking.WriteMsg(query)); err != nil {
		return nil, err
	}
	answer, err := asking.ReadMsg()
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, record := range answer.Answer {
		if one, ok := record.(*dns.TXT); ok {
			texts = append(texts, strings.Join(one.Txt, ""))
		}
	}
	return texts, nil
}

// publishKeys publishes the records that the nodes ask for now, and waits until each signs.
func (s *site) publishKeys(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := s.publishAsked(ctx); err != nil {
		t.Fatal(err)
	}
	for _, m := range s.nodes {
		s.on(t, ctx, m, "postfleet dkim wait --timeout 2m")
	}
}

// publishAsked publishes the records that the nodes ask for now.
func (s *site) publishAsked(ctx context.Context) error {
	var records strings.Builder
	for _, m := range s.nodes {
		asked, err := m.Run(ctx, "postfleet dkim dns")
		if err != nil {
			return err
		}
		records.Write(asked)
		records.WriteByte('\n')
	}
	return s.publish(ctx, records.String())
}

// forward makes an address of a machine reachable from this test's own network, where the browser runs.
func (s *site) forward(t *testing.T, address string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.OnClose("close forward", listener.Close)
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := s.control.DialContext(context.Background(), "tcp", address)
				if err != nil {
					return
				}
				defer out.Close()
				go func() {
					_, _ = io.Copy(out, in) // either end may go first
					_ = out.Close()
				}()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return listener.Addr().String()
}
