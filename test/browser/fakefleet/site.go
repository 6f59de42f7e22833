package fakefleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/cache"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Who may sign in at a [Site], all with the same password: a viewer, an operator and an admin.
const (
	User     = "alice"
	Operator = "olga"
	Admin    = "adam"
	Password = "correct horse battery"
)

// Site is an aggregator over a fleet in memory.
type Site struct {
	URL     string
	Nodes   map[string]*Node
	makers  map[string]*maker
	fanout  *aggregator.Fanout
	server  *aggregator.Server
	memory  *cache.Cache // nil: none
	members *members
}

// Options of a [Site].
type Options struct {
	Dir      string // for the users file and the audit log
	Messages int    // of the last two days, over all nodes; 0 for none
	Relay    bool   // with mail that other nodes carry, one of each kind
	Down     string // a node that never answers
	Memory   bool   // nodes are remembered, for when they are away
	Log      *zap.Logger
}

// away is what the client of a node that was stopped says.
func away(node string) error {
	return fleet.Errorf(fleet.CodeUnavailable, "node %s refused the connection: is its daemon running?", node)
}

// Start makes the fleet and serves its pages on a free port of loopback.
func Start(o Options) (*Site, error) {
	s := &Site{Nodes: map[string]*Node{}, makers: map[string]*maker{}}
	members := &members{}
	s.members = members
	for i, name := range []string{"mx1", "mx2", "mx3", "mx4"} {
		info, makes := describe(name, i)
		s.Nodes[name], s.makers[name] = newNode(info), makes
		member := fleet.Member{Name: name, API: fmt.Sprintf("https://10.20.0.1%d:7025", i+1), Healthy: true, Fit: true, Weight: 1 + i%2,
			Hop: fmt.Sprintf("10.20.0.1%d:8529", i+1)}
		if name == o.Down {
			s.Nodes[name].SetDown(away(name))
			member.Healthy, member.Fit, member.Reason = false, false, "check \"node api\" is critical: connection refused"
		}
		members.list = append(members.list, member)
	}
	s.fill(o.Messages)
	if o.Relay {
		s.relayed(time.Now())
	}
	common := newSettings(func(next fleet.Settings) {
		for _, node := range s.Nodes {
			node.follow(next)
		}
	})
	if o.Memory {
		var err error
		if s.memory, err = cache.Open(cache.Options{Dir: filepath.Join(o.Dir, "cache"), Log: o.Log}); err != nil {
			return nil, err
		}
	}
	s.fanout = aggregator.NewFanout(aggregator.FanoutOptions{Members: members, Log: o.Log, Memory: s.memory,
		Dial: func(m fleet.Member) aggregator.Node { return s.Nodes[m.Name] }})
	users := filepath.Join(o.Dir, "users")
	for name, role := range map[string]accounts.Role{User: accounts.Viewer, Operator: accounts.Operator, Admin: accounts.Admin} {
		if err := (accounts.UserFile{Path: users}).Add(name, role, Password); err != nil {
			return nil, err
		}
	}
	var err error
	s.server, err = aggregator.New(aggregator.Options{Fleet: s.fanout, Settings: common, DNS: plan{}, Listen: "127.0.0.1:0", UsersFile: users,
		TokensFile: filepath.Join(o.Dir, "tokens"), AuditFile: filepath.Join(o.Dir, "audit.log"), Version: "1.0.0", Log: o.Log})
	if err != nil {
		return nil, err
	}
	s.server.Start(func(error) {})
	s.URL = "http://" + s.server.Addr().String()
	return s, nil
}

// Stop ends the server and the questions under way.
func (s *Site) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	s.fanout.Close()
	if s.memory != nil {
		err = errors.Join(err, s.memory.Close())
	}
	return err
}

// Arrive lets a message come in at a node now, and answers it.
func (s *Site) Arrive(node string, change func(*fleet.Message)) fleet.Message {
	m, transcripts := s.makers[node].sent(time.Now())
	m.FirstSeen = time.Now()
	m.ID = fleet.MessageIDAt(m.FirstSeen)
	if change != nil {
		change(&m)
	}
	s.Nodes[node].Put(m, transcripts...)
	return m
}

// Find is the address of the newest message of a node that fits, or empty.
func (s *Site) Find(node string, fits func(*fleet.Message) bool) string {
	n := s.Nodes[node]
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range slices.Backward(n.messages) {
		if fits(&m) {
			return "/messages/" + node + "/" + m.ID.String()
		}
	}
	return ""
}

// Lively lets mail come in by itself until ctx ends.
func (s *Site) Lively(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	names := []string{"mx1", "mx2", "mx3"}
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			name := names[i%len(names)]
			m, transcripts := s.makers[name].message(now)
			m.ID = fleet.MessageIDAt(now)
			s.Nodes[name].Put(m, transcripts...)
		}
	}
}

// fill spreads messages over two days, more of them in working hours.
func (s *Site) fill(messages int) {
	random := rand.New(rand.NewPCG(2, 7))
	now := time.Now()
	names := []string{"mx1", "mx1", "mx1", "mx2", "mx2", "mx3", "mx4"}
	for made := 0; made < messages; {
		at := now.Add(-time.Duration(random.Float64() * float64(48*time.Hour)))
		hour := float64(at.UTC().Hour()) + float64(at.Minute())/60
		if random.Float64() > 0.18+0.82*math.Exp(-math.Pow((hour-13)/4.5, 2)) {
			continue
		}
		name := names[random.IntN(len(names))]
		m, transcripts := s.makers[name].message(at)
		s.Nodes[name].Put(m, transcripts...)
		made++
	}
	// The newest rows are the ones that a test or a picture wants: one of each kind.
	for i, one := range []func(*maker, time.Time) (fleet.Message, []fleet.Transcript){(*maker).held, (*maker).rejected, (*maker).newsletter,
		(*maker).bounced, (*maker).sentClear, (*maker).hostile, (*maker).deferred, (*maker).local, (*maker).sent, (*maker).newsletter} {
		if messages == 0 {
			return
		}
		name := names[i%6]
		m, transcripts := one(s.makers[name], now.Add(time.Duration(i-10)*4700*time.Millisecond))
		s.Nodes[name].Put(m, transcripts...)
	}
}

// members are the nodes that the fleet knows.
type members struct {
	mu   sync.Mutex
	list []fleet.Member
	away string // why Consul doesn't answer
}

// Members implements aggregator.Members.
func (m *members) Members() []fleet.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}

// Away implements what aggregator.Members of a fleet with Consul know besides.
func (m *members) Away() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.away
}

// ConsulAway has Consul not answer for a reason; with none it answers again.
func (s *Site) ConsulAway(why string) {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	s.members.away = why
}

// describe is a node: each has something of its own to show.
func describe(name string, i int) (fleet.NodeInfo, *maker) {
	host := name + ".corp.example"
	info := fleet.NodeInfo{Name: name, Version: "1.0.0", Hostname: host, Role: "node", MailAddress: fmt.Sprintf("10.20.0.1%d:25", i+1),
		Addresses: []string{fmt.Sprintf("10.20.0.1%d", i+1), fmt.Sprintf("2001:db8:20::1%d", i+1)}, Postfix: "3.7.11",
		Started:      time.Now().Add(-time.Duration(50+13*i) * time.Hour),
		Capabilities: []string{fleet.CapMessages, fleet.CapTranscripts, fleet.CapEvents, fleet.CapStats, fleet.CapOutcome, fleet.CapCarrier, fleet.CapRelay, fleet.CapDrain}, Capture: "on",
		Queue:     &fleet.Queue{Active: 2 + i, Deferred: 11 + 7*i},
		Log:       fleet.LogState{Source: "/var/log/mail.log", Lines: 812345 + int64(i)*99111},
		Recording: fleet.Recording{State: "ok", Bytes: 412_000_000, Oldest: time.Now().Add(-19 * 24 * time.Hour), Late: int64(i)},
		Milter:    fleet.Traffic{Connections: 3 + int64(i), Messages: 48211 + int64(i)*311, Signed: 47100, Refused: 214},
		Checks: []fleet.Check{{Name: "milter", OK: true, Text: "listens on /var/spool/postfix/postfleet/milter.sock"}, {Name: "postfix", OK: true, Text: "220 " + host + " ESMTP Postfix"},
			{Name: "log", OK: true, Text: "follows /var/log/mail.log"}},
	}
	for _, domain := range []string{"shop.example", "corp.example", "news.example"} {
		info.Selectors = append(info.Selectors, fleet.Selector{Domain: domain, Selector: name, Algorithm: "rsa", Bits: 2048})
	}
	info.Selectors = append(info.Selectors, fleet.Selector{Domain: "corp.example", Selector: name, Algorithm: "ed25519"})
	switch name {
	case "mx1":
		info.Role = "master"
	case "mx2":
		info.Queue.Hold = 3
		info.Log.Unknown, info.Log.Sample = 17, "Nov 23 09:12:44 mx2 postfix/smtpd[812]: something that nobody has seen before"
	case "mx3":
		info.Capture, info.Version = "off", "0.9.4"
		info.Capabilities = slices.DeleteFunc(info.Capabilities, func(c string) bool { return c == fleet.CapEvents || c == fleet.CapDrain })
		info.Log.BehindBytes = 2_400_000
	}
	return info, &maker{random: rand.New(rand.NewPCG(11, uint64(i))), node: name, host: host, captured: info.Capture == "on"}
}
