package relay

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// binary is postfleet, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(lab.Main(m, &binary)) }

// site is nodes that relay through each other, and one mail server of the outside world. The nodes are called n1, n2 and so
// on and know each other by a static list.
type site struct {
	t     *testing.T
	ctx   ctx
	lab   *lab.Lab
	relay []*lab.Relay
	nodes []*lab.Node
	tap   *lab.Tap // before the mail server
	ip    string   // of the mail server
}

// options of a site. The zero value is three nodes that don't relay.
type options struct {
	nodes    int
	weights  []int                    // by node
	settings string                   // of the section relay
	main     map[string]string        // further lines of main.cf
	names    []map[string]string      // by node, domains beside remote.example
	peers    func(*site) []*lab.Relay // the static list; nil: all nodes
	retry    time.Duration
}

func newSite(t *testing.T, o options) *site {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	s := &site{t: t, ctx: ctx, lab: lab.ForTest(t)}
	if o.nodes == 0 {
		o.nodes = 3
	}
	s.must(s.lab.InitCA(ctx, binary))
	s.startRemote()
	for i := range o.nodes {
		relay, err := s.lab.NewRelay(name(i))
		s.must(err)
		if i < len(o.weights) {
			relay.Weight = o.weights[i]
		}
		s.relay = append(s.relay, relay)
	}
	for i := range o.nodes {
		s.startNode(i, o)
	}
	return s
}

func name(i int) string { return fmt.Sprintf("n%d", i+1) }

// in is the site for a subtest, which it then fails.
func (s *site) in(t *testing.T) *site {
	inner := *s
	inner.t = t
	return &inner
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// startRemote runs the mail server of remote.example.
func (s *site) startRemote() {
	var err error
	s.ip, err = lab.FreeHost()
	s.must(err)
	sink, err := s.lab.StartSink(s.ctx, lab.SinkOptions{Name: "remote.example"})
	s.must(err)
	s.tap, err = s.lab.StartTapAt(net.JoinHostPort(s.ip, "25"), sink)
	s.must(err)
}

func (s *site) startNode(i int, o options) {
	keys, err := s.lab.Mkdir("keys-" + name(i))
	s.must(err)
	s.must(s.lab.Keygen(s.ctx, binary, keys, name(i), []string{"shop.example"}))
	id, err := s.lab.Issue(s.ctx, binary, "node", name(i))
	s.must(err)
	names := map[string]string{"remote.example": s.ip}
	if i < len(o.names) {
		maps.Copy(names, o.names[i])
	}
	main := s.relay[i].Main()
	maps.Copy(main, o.main)
	postfix, err := s.lab.StartPostfix(s.ctx, lab.PostfixOptions{Name: name(i), IP: fmt.Sprintf("127.0.%d.1", i+1), Names: names,
		Milter: "unix:" + s.lab.MilterSocket(name(i)), Main: main, Services: s.relay[i].Services(false), Retry: o.retry})
	s.must(err)
	peers := s.relay
	if o.peers != nil {
		peers = o.peers(s)
	}
	node, err := s.lab.StartNode(s.ctx, binary, lab.NodeOptions{Name: name(i), Postfix: postfix, API: s.relay[i].API, Keys: keys, TLS: id,
		Extra: s.relay[i].Config(o.settings, peers...)})
	s.must(err)
	s.nodes = append(s.nodes, node)
}

// ready waits until a node has so many other nodes that could carry.
func (s *site) ready(i, candidates int) {
	s.t.Helper()
	s.until(func(context.Context) error {
		got, err := s.metric(i, "postfleet_relay_candidates")
		if err == nil && got != float64(candidates) {
			err = fmt.Errorf("%s has %g candidates, want %d", name(i), got, candidates)
		}
		return err
	})
}

func (s *site) until(check func(context.Context) error) {
	s.t.Helper()
	s.must(lab.Until(s.ctx, check))
}

// mail is a message whose author has a domain that every node signs for, whatever the envelope says.
func mail(from, to string) lab.Mail {
	return lab.Mail{From: from, HeaderFrom: "<author@shop.example>", To: []string{to}, Subject: "relay", Text: "A message."}
}

// send submits to a node and gives the Message-ID.
func (s *site) send(i int, m lab.Mail) string {
	s.t.Helper()
	m.ID = lab.NewID()
	outcomes, err := lab.Client{}.Send(s.ctx, s.nodes[i].Postfix.Addr, m)
	s.must(err)
	if outcomes[0].Err != nil || len(outcomes[0].Refused) > 0 {
		s.t.Fatalf("%s refused %s: %+v", name(i), m.From, outcomes[0])
	}
	return m.ID
}

var receivedBy = regexp.MustCompile(`(?m)^(?:Received: |\s+)by (n[0-9]+)\.fleet\.example`)

// deliveries tells which nodes handed over the message to the remote server, and through which it came: "n1", or "n1>n2"
// for a hop.
func (s *site) deliveries(id string) (ways []string) {
	for _, taken := range s.tap.Taken() {
		header, _, _ := bytes.Cut(taken.Content, []byte("\r\n\r\n")) // the body of a notice has that of another
		if !taken.Accepted || !bytes.Contains(header, []byte("Message-ID: <"+id+">")) {
			continue
		}
		ways = append(ways, wayOf(taken.Content))
	}
	return ways
}

// wayOf reads a message's way out of its Received fields: those of SMTP, and those of mail that a node made itself.
func wayOf(content []byte) string {
	header, _, _ := bytes.Cut(content, []byte("\r\n\r\n"))
	var way []string
	for _, by := range receivedBy.FindAllSubmatch(header, -1) {
		way = append([]string{string(by[1])}, way...)
	}
	return strings.Join(way, ">")
}

// exactly matches one way and no other.
func exactly(way string) *regexp.Regexp { return regexp.MustCompile("^" + regexp.QuoteMeta(way) + "$") }

type ctx = context.Context

// arrived waits for the message and gives its way. It fails when it came twice.
func (s *site) arrived(id string) string {
	s.t.Helper()
	var ways []string
	err := lab.Until(s.ctx, func(context.Context) error {
		if ways = s.deliveries(id); len(ways) == 0 {
			return fmt.Errorf("message %s has not arrived", id)
		}
		return nil
	})
	if err != nil {
		s.t.Fatalf("%v; in the queues: %s", err, s.queues())
	}
	if len(ways) > 1 {
		s.t.Fatalf("message %s arrived %d times: %v", id, len(ways), ways)
	}
	return ways[0]
}

// queues are what waits on all nodes, for a test that fails: once the test's time is over its context can't be used.
func (s *site) queues() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Second)
	defer cancel()
	var text strings.Builder
	for i := range s.nodes {
		queue, err := s.nodes[i].Postfix.Queue(ctx)
		fmt.Fprintf(&text, "%s: %+v %v; ", name(i), queue, err)
	}
	return text.String()
}

// sendFor sends until a message goes the way that is asked for.
func (s *site) sendFor(i int, from string, way *regexp.Regexp) {
	s.t.Helper()
	n := 0
	s.until(func(context.Context) error {
		n++
		if got := s.arrived(s.send(i, mail(from, fmt.Sprintf("user%d@remote.example", n)))); !way.MatchString(got) {
			return fmt.Errorf("message went %s, want %s", got, way)
		}
		return nil
	})
}

// reconfigure replaces a text in a node's configuration and has the daemon read it.
func (s *site) reconfigure(i int, before, after string) {
	s.t.Helper()
	text, err := os.ReadFile(s.nodes[i].Config)
	s.must(err)
	if !strings.Contains(string(text), before) {
		s.t.Fatalf("%s doesn't have %q", s.nodes[i].Config, before)
	}
	s.must(os.WriteFile(s.nodes[i].Config, []byte(strings.Replace(string(text), before, after, 1)), 0o600))
	s.must(s.nodes[i].Signal(hangup))
}
