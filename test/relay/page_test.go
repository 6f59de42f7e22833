package relay

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/apiclient"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/test/lab"
)

// page is an aggregator over a site's nodes: as a program asks it, and as a person does.
type page struct {
	site *site
	url  string
	api  *apiclient.Client
	http *http.Client
}

type members []fleet.Member

func (m members) Members() []fleet.Member { return m }

func (s *site) page() *page {
	s.t.Helper()
	clients := map[string]*nodeapi.Client{}
	var known members
	for i := range s.nodes {
		clients[name(i)] = s.api(i)
		known = append(known, fleet.Member{Name: name(i), API: "https://" + s.nodes[i].API, Healthy: true})
	}
	fanout := aggregator.NewFanout(aggregator.FanoutOptions{Members: known, Log: zap.NewNop(),
		Dial: func(m fleet.Member) aggregator.Node { return clients[m.Name] }})
	s.t.Cleanup(fanout.Close)
	dir := s.t.TempDir()
	s.must((accounts.UserFile{Path: filepath.Join(dir, "users")}).Add("anna", accounts.Viewer, "correct horse battery"))
	token, err := accounts.TokenFile{Path: filepath.Join(dir, "tokens")}.Add("test", accounts.Viewer, time.Now())
	s.must(err)
	server, err := aggregator.New(aggregator.Options{Fleet: fanout, Listen: "127.0.0.1:0", UsersFile: filepath.Join(dir, "users"),
		TokensFile: filepath.Join(dir, "tokens"), AuditFile: filepath.Join(dir, "audit"), Log: zap.NewNop()})
	s.must(err)
	server.Start(func(err error) { s.t.Error(err) })
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.must(server.Shutdown(ctx))
	})
	p := &page{site: s, url: "http://" + server.Addr().String()}
	p.api, err = apiclient.New(apiclient.Options{URL: p.url, Token: token})
	s.must(err)
	s.t.Cleanup(p.api.Close)
	jar, err := cookiejar.New(nil)
	s.must(err)
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	p.http = &http.Client{Jar: jar, Transport: transport}
	answer, err := p.http.PostForm(p.url+"/login", url.Values{"user": {"anna"}, "password": {"correct horse battery"}})
	s.must(err)
	s.must(answer.Body.Close())
	return p
}

// get reads a page.
func (p *page) get(path string) string {
	p.site.t.Helper()
	answer, err := p.http.Get(p.url + path)
	p.site.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	p.site.must(err)
	if answer.StatusCode != http.StatusOK {
		p.site.t.Fatalf("%s: %s", path, answer.Status)
	}
	return string(text)
}

// traced asks what became of a mail until its verdict is the one that is asked for.
func (p *page) traced(id string, want aggregator.TraceVerdict) *aggregator.TracedMail {
	p.site.t.Helper()
	var mail *aggregator.TracedMail
	p.site.until(func(ctx context.Context) error {
		answer, err := p.api.Trace(ctx, fleet.Query{MessageID: id})
		if err != nil {
			return err
		}
		if answer.Verdict != want || len(answer.Mails) != 1 {
			return fmt.Errorf("%s: %d mails, %s: %s", id, len(answer.Mails), answer.Verdict, answer.Words)
		}
		mail = &answer.Mails[0]
		return nil
	})
	return mail
}

// TestTheWayIsTold: the pages and the trace tell the way that a mail really took, and why, with real nodes at both ends.
func TestTheWayIsTold(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: failover", names: []map[string]string{{"refuses.example": "127.199.199.199"}}})
	s.ready(0, 1)
	s.must(s.nodes[0].Postfix.Name("no.example", s.sink("no.example", lab.SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted"})))
	s.must(s.nodes[1].Postfix.Name("no.example", s.sink("never.example", lab.SinkOptions{HardFail: []string{"RCPT"}, HardReply: "550 5.1.1 No such user here"})))
	s.must(s.nodes[1].Postfix.Name("refuses.example", s.ip))
	p := s.page()

	t.Run("delivered by another node", func(t *testing.T) {
		mail := p.traced(s.send(0, mail("a@shop.example", "user@refuses.example")), aggregator.TraceDelivered)
		b := mail.Journey.Branches[0]
		h := b.Handover
		if h == nil || h.Carrier != "n2" || h.Source != aggregator.FromCarrier || b.Last == nil || b.Last.Node != "n2" {
			t.Fatalf("the way: %+v, %+v", h, b.Last)
		}
		if !strings.Contains(h.Why, "Connection refused") || len(b.Failed) == 0 || !strings.HasPrefix(b.Failed[0].Reply, "connect to refuses.example[127.199.199.199]:25") {
			t.Errorf("why: %s, after %+v", h.Why, b.Failed)
		}
		list := p.get("/messages")
		arrow := regexp.MustCompile(`<a class="sign out carried" href="(/messages/n2/[^"#]+)#[^"]*" title="[^"]*by another node \(n2\)`).FindStringSubmatch(list)
		if arrow == nil {
			t.Fatalf("no blue arrow in %s", list)
		}
		if talk := p.get(arrow[1]); !strings.Contains(talk, "RCPT TO:&lt;user@refuses.example&gt;") {
			t.Errorf("behind it is %s", talk)
		}
		if way := p.get("/messages/n1/" + mail.Message.ID.String()); !strings.Contains(way, "could not deliver it itself (failover): Connection refused") {
			t.Errorf("the page: %s", way)
		}
		if hop := p.get("/messages/n2/" + h.ID.String()); !strings.Contains(hop, `href="/messages/n1/`+mail.Message.ID.String()+`">See the whole way`) {
			t.Errorf("the hop doesn't lead back: %s", hop)
		}
		for carrier, want := range map[string]int{"n2": 1, fleet.AnyCarrier: 1, "n1": 0} {
			found, err := p.api.Messages(s.ctx, fleet.Query{Carrier: carrier, Status: fleet.StatusDelivered}, "")
			s.must(err)
			if len(found.Failed()) > 0 || len(found.Messages) != want || want > 0 && found.Messages[0].Node != "n1" {
				t.Errorf("carried by %s: %+v", carrier, found)
			}
		}
	})
	t.Run("bounced by another node", func(t *testing.T) {
		mail := p.traced(s.send(0, mail("a@shop.example", "user@no.example")), aggregator.TraceFailed)
		h := mail.Journey.Branches[0].Handover
		if h == nil || h.Source != aggregator.FromCarrier || !strings.Contains(h.Why, "450 4.2.0 Greylisted") || h.Bounce == "" {
			t.Fatalf("the way: %+v", h)
		}
		if len(mail.Advice) != 1 || mail.Advice[0].Advice.Name != "unknown-user" {
			t.Errorf("advice: %+v", mail.Advice)
		}
		if notice := p.get("/messages/n2/" + h.BounceID.String()); !strings.Contains(notice, `href="/messages/n1/`+mail.Message.ID.String()+`">See the whole way`) {
			t.Errorf("the notice doesn't lead back: %s", notice)
		}
	})
}
