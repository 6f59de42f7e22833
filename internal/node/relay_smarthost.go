package node

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/node/mta"
)

// smartHosts know which senders have a way of their own in Postfix's tables: sender_dependent_relayhost_maps, and other
// tables than ours in sender_dependent_default_transport_maps. A sender is looked up once, and then from time to time in the
// background. It is safe for concurrent use.
type smartHosts struct {
	tables func() (relayhosts, transports []string)
	lookup func(ctx context.Context, tables, keys []string) (string, bool, error)
	now    func() time.Time
	log    *zap.Logger

	mu      sync.Mutex
	senders map[string]verdict
	again   chan string // senders whose verdict is old
}

type verdict struct {
	has  bool
	when time.Time
}

const (
	verdictKept   = 30 * time.Second // from then on a verdict is looked up again, and still given
	verdictBounds = 10_000           // senders that are known at a time
	lookupTimeout = 5 * time.Second
)

func newSmartHosts(postfix *mta.Postfix, config *relayPostfix, now func() time.Time, log *zap.Logger) *smartHosts {
	return &smartHosts{tables: config.tables, lookup: postfix.Lookup, now: now, log: log, senders: map[string]verdict{},
		again: make(chan string, 100)}
}

// has tells whether the sender has one.
func (s *smartHosts) has(sender string) bool {
	relayhosts, transports := s.tables()
	if len(relayhosts)+len(transports) == 0 {
		return false
	}
	s.mu.Lock()
	known, found := s.senders[sender]
	s.mu.Unlock()
	if !found {
		return s.find(sender)
	}
	if s.now().Sub(known.when) >= verdictKept {
		select {
		case s.again <- sender:
		default: // the next question comes
		}
	}
	return known.has
}

// run looks old verdicts up again until ctx ends.
func (s *smartHosts) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case sender := <-s.again:
			s.mu.Lock()
			old := s.now().Sub(s.senders[sender].when) >= verdictKept
			s.mu.Unlock()
			if old {
				s.find(sender)
			}
		}
	}
}

// find looks a sender up. One that can't be looked up counts as having a smart host: its mail then goes where Postfix sends
// it without us.
func (s *smartHosts) find(sender string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	has, err := s.ask(ctx, sender)
	if err != nil {
		s.log.Warn("mail of a sender is not relayed: whether it has a smart host can't be looked up", zap.String("sender", sender), zap.Error(err))
		has = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.senders) >= verdictBounds {
		clear(s.senders)
	}
	s.senders[sender] = verdict{has, s.now()}
	return has
}

func (s *smartHosts) ask(ctx context.Context, sender string) (bool, error) {
	relayhosts, transports := s.tables()
	keys := senderKeys(sender)
	// DUNNO in a transport table means the default transport, which is a way of its own too.
	if _, found, err := s.lookup(ctx, transports, keys); found || err != nil {
		return found, err
	}
	way, found, err := s.lookup(ctx, relayhosts, keys)
	return found && !strings.EqualFold(way, "DUNNO") && way != "", err
}

// senderKeys are what Postfix looks a sender up by, in that order: the address, the address without its extension, and
// @domain (ADDRESS EXTENSION and TABLE SEARCH ORDER in transport(5)); the null sender as "<>". The bare user of a local
// domain is left out: only senders of this host have it.
func senderKeys(sender string) []string {
	at := strings.LastIndexByte(sender, '@')
	if sender == "" || sender == `"<>"` || at < 0 {
		return []string{"<>"}
	}
	keys := []string{sender}
	if plus := strings.IndexByte(sender[:at], '+'); plus > 0 {
		keys = append(keys, sender[:plus]+sender[at:])
	}
	return slices.Compact(append(keys, sender[at:]))
}
