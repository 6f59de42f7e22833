package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gomilter "github.com/d--j/go-milter"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
)

// site is a host made of temporary directories: keys, certificates, a log, and something that greets as Postfix does.
type site struct {
	dir  string
	file string // milter.yaml
	ca   *pki.Directory
}

// newSite makes a host with an RSA key for example.com.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: shortDir(t)}
	s.file = s.path("milter.yaml")
	for _, name := range []string{"main.cf", "master.cf"} { // postconf is content with empty ones
		if err := os.WriteFile(s.path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dkim.Generate(s.path("keys"), "example.com", "n1", dkim.RSA, dkim.MinBits); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.ca, err = pki.Init(s.path("pki"), "test", time.Now(), 100*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, id := range []pki.Identity{{Role: pki.Node, Name: "n1"}, {Role: pki.Aggregator, Name: "a1"}} {
		if _, err := s.ca.Issue(pki.Request{Identity: id, Valid: 90 * 24 * time.Hour}, time.Now(), ""); err != nil {
			t.Fatal(err)
		}
	}
	s.writeLog(t, "")
	return s
}

// shortDir is a temporary directory in which the path of a socket stays below 108 bytes.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *site) config(t *testing.T, postfix string, replace ...string) *config.Milter {
	t.Helper()
	c, err := config.ParseMilter("milter.yaml", []byte(s.yaml(postfix, replace...)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// yaml is the site's configuration, with pairs of texts replaced.
func (s *site) yaml(postfix string, replace ...string) string {
	text := fmt.Sprintf(`node: {name: n1, mail_address: "192.0.2.1:25"}
milter:
  listen: [{address: "unix:%[1]s/m.sock", mode: 0600, group: ""}]
  sign_networks: [192.0.2.0/24]
  record_wait: 5s
dkim: {require_dns: never, keys_dir: %[1]s/keys}
postfix:
  config_dir: %[1]s
  queue_dir: %[1]s/queue
  smtp_address: %[2]q
  log: {source: file, file: %[1]s/mail.log}
repository: {dir: %[1]s/repository, min_free: 1MiB}
api:
  listen: 127.0.0.1:0
  certificates: files
  cert_file: "%[1]s/pki/node-{node}.pem"
  key_file: "%[1]s/pki/node-{node}.key"
  ca_file: %[1]s/pki/ca.pem
status: {listen: "127.0.0.1:0"}
`, s.dir, postfix)
	return strings.NewReplacer(replace...).Replace(text)
}

func (s *site) writeLog(t *testing.T, text string) {
	t.Helper()
	log, err := os.OpenFile(s.path("mail.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// start makes a node and lets it work until the test ends.
func start(t *testing.T, c *config.Milter) *Node {
	t.Helper()
	n, err := New(c, Options{Version: "1.2.3", Hostname: "n1.example.com", Log: quiet(t), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(func(err error) { t.Errorf("a part failed: %v", err) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return n
}

func quiet(t *testing.T) *zap.Logger { return zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)) }

// client asks the node's API as an identity does.
func (s *site) client(t *testing.T, n *Node, as string) *nodeapi.Client {
	t.Helper()
	files, err := pki.NewFiles(pki.FileOptions{Cert: s.path("pki", as+".pem"), Key: s.path("pki", as+".key"), CA: s.path("pki", "ca.pem"),
		Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	api, _ := n.Addresses()
	client, err := nodeapi.NewClient(nodeapi.ClientOptions{Node: "n1", Base: "https://" + api,
		TLS: pki.ClientConfig(pki.Options{Source: files, Scheme: pki.FleetScheme}, pki.Identity{Role: pki.Node, Name: "n1"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// greet answers SMTP connections with a banner until the test ends.
func greet(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 n1.example.com ESMTP Postfix\r\n"))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

// submit hands one message to the milter as Postfix does, and gives what the milter adds and answers.
func (s *site) submit(t *testing.T, queueID, from string) ([]gomilter.ModifyAction, *gomilter.Action) {
	t.Helper()
	macros := gomilter.NewMacroBag()
	session, err := gomilter.NewClient("unix", s.path("m.sock")).Session(macros)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }() // the answer is in already
	must := func(_ *gomilter.Action, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(session.Conn("client.example.com", gomilter.FamilyInet, 2525, "192.0.2.7"))
	must(session.Helo("client.example.com"))
	must(session.Mail(from, ""))
	must(session.Rcpt("you@example.net", ""))
	macros.Set(gomilter.MacroQueueId, queueID)
	must(session.DataStart())
	for _, field := range [][2]string{{"From", from}, {"To", "you@example.net"}, {"Subject", "a test"}, {"Message-ID", "<" + queueID + "@example.com>"}} {
		must(session.HeaderField(field[0], " "+field[1], nil))
	}
	must(session.HeaderEnd())
	must(session.BodyChunk([]byte("hello\r\n")))
	modifications, action, err := session.End()
	if err != nil {
		t.Fatal(err)
	}
	return modifications, action
}

// eventually polls until a check gives nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}
