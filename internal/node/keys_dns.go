package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/dnspublish"
	"github.com/postfleet/postfleet/internal/fleet"
)

// looksAtOnce bounds how many names are asked for at a time.
const looksAtOnce = 8

// look asks DNS for the records whose time it is.
func (k *keeper) look(ctx context.Context) {
	how := k.how.Load()
	var mu sync.Mutex
	var seen []life.Observation
	var all sync.WaitGroup
	room := make(chan struct{}, looksAtOnce)
	for _, key := range k.due(how) {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			observed := observe(ctx, how.resolver, &key)
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, observed)
		})
	}
	all.Wait()
	if ctx.Err() != nil && len(seen) == 0 {
		return
	}
	for i := range seen {
		k.metrics.looks.WithLabelValues(string(seen[i].Record)).Inc()
	}
	k.note("keep what DNS said", k.life.Observe(seen))
}

// due are the keys whose record is to be looked at, which it notes as done.
func (k *keeper) due(how *keyHow) (keys []fleet.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	for _, key := range k.life.Keys().Keys {
		every := how.used
		if key.Stage == fleet.StageWaiting || key.Found.Failure != "" || key.Alarm() != "" || key.Found.At.IsZero() {
			every = min(how.waiting, how.used)
		}
		if last, was := k.looked[key.Name]; !was || now.Sub(last) >= every {
			k.looked[key.Name] = now
			keys = append(keys, key)
		}
	}
	return keys
}

// observe looks at one record. What would be an alarm has to be said by every resolver, or twice by the only one.
func observe(ctx context.Context, r *dnspublish.Resolver, key *fleet.Key) life.Observation {
	seen := life.Observation{Name: key.Name, Text: key.Text}
	answer, err := r.TXT(ctx, key.Name)
	if err == nil {
		seen.Record, seen.Words = dkim.CompareRecord(key.Text, answer.Texts())
		news := seen.Record != key.Found.Record && (key.Found.Record == fleet.RecordMatches || key.Stage == fleet.StageActive)
		if seen.Record != fleet.RecordMatches && news {
			answer, err = r.Confirmed(ctx, key.Name, dns.TypeTXT, func(a, b *dnsask.Answer) bool {
				first, _ := dkim.CompareRecord(key.Text, a.Texts())
				second, _ := dkim.CompareRecord(key.Text, b.Texts())
				return first == second
			})
		}
	}
	if err != nil {
		seen.Record, seen.Words = fleet.RecordUnknown, "could not tell: "+err.Error()
		return seen
	}
	seen.Record, seen.Words = dkim.CompareRecord(key.Text, answer.Texts())
	return seen
}

// publish puts records of keys that need them into DNS, and takes those of retired keys out, where the node may.
func (k *keeper) publish(ctx context.Context) {
	how := k.how.Load()
	k.mu.Lock()
	known, claims := k.peers.Known, k.peers.Claims
	k.mu.Unlock()
	if how.updater == nil || !known {
		return
	}
	var seen []life.Observation
	for _, key := range k.life.Keys().Keys {
		switch {
		case !k.tryUpdate(&key):
		case key.Stage == fleet.StageWaiting && key.Conflict == "" && key.Found.Record != fleet.RecordMatches && !key.Found.At.IsZero():
			seen = append(seen, k.publishOne(ctx, how.updater, &key))
		case key.Stage == fleet.StageRetired && key.Published && how.remove && !key.Removable.After(k.now()) && !claimed(claims, &key):
			k.withdraw(ctx, how.updater, &key)
		}
	}
	k.note("keep what came of an update", k.life.Observe(seen))
}

// claimed tells whether another node has a key with the record of this one: the record is that one's now.
func claimed(claims []fleet.Claim, key *fleet.Key) bool {
	return slices.ContainsFunc(claims, func(c fleet.Claim) bool {
		return c.Node != key.Node && c.Domain == key.Domain && c.Selector == key.Selector
	})
}

// tryUpdate bounds how often one name is tried.
func (k *keeper) tryUpdate(key *fleet.Key) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	const suffix = " update"
	last, was := k.looked[key.Name+suffix]
	if was && k.now().Sub(last) < k.how.Load().waiting {
		return false
	}
	if key.Stage == fleet.StageWaiting && !key.Found.At.IsZero() || key.Stage == fleet.StageRetired {
		k.looked[key.Name+suffix] = k.now()
	}
	return true
}

func (k *keeper) publishOne(ctx context.Context, u *dnspublish.Updater, key *fleet.Key) life.Observation {
	done := life.Observation{Name: key.Name, Text: key.Text}
	err := func() error {
		current, err := u.Current(ctx, key.Name)
		if err != nil {
			return err
		}
		switch record, words := dkim.CompareRecord(key.Text, current); {
		case record == fleet.RecordMatches:
			return nil // an earlier try whose answer got lost, or an administrator
		case len(current) > 0:
			return errors.New("something else is at its name, and stays: " + words)
		}
		zone, err := u.Zone(ctx, key.Name)
		if err != nil {
			return err
		}
		return u.Apply(ctx, zone, []dnspublish.Change{{Name: key.Name, Add: []string{key.Text}}})
	}()
	done.Published = err == nil
	k.metrics.updated("publish", err)
	if err != nil {
		done.UpdateErr = err.Error()
		k.log.Warn("record not put into DNS; the key waits, and the old one signs", zap.String("name", key.Name), zap.Error(err))
		return done
	}
	k.log.Info("record put into DNS", zap.String("name", key.Name))
	k.mu.Lock()
	delete(k.looked, key.Name) // the resolver may see it at once
	k.mu.Unlock()
	return done
}

func (k *keeper) withdraw(ctx context.Context, u *dnspublish.Updater, key *fleet.Key) {
	err := func() error {
		current, err := u.Current(ctx, key.Name)
		if err != nil {
			return err
		}
		if !slices.Contains(current, key.Text) {
			return nil // somebody was faster
		}
		zone, err := u.Zone(ctx, key.Name)
		if err != nil {
			return err
		}
		return u.Apply(ctx, zone, []dnspublish.Change{{Name: key.Name, Before: current, Remove: []string{key.Text}}})
	}()
	k.metrics.updated("withdraw", err)
	if err != nil {
		k.log.Warn("record of a retired key not taken out of DNS", zap.String("name", key.Name), zap.Error(err))
		return
	}
	k.log.Info("record of a retired key taken out of DNS", zap.String("name", key.Name))
	k.note("keep what came of an update", k.life.Withdrawn(key.Name))
}

// schedule begins the rotations whose time has come, one node of the fleet at a time where Consul can order them.
func (k *keeper) schedule(ctx context.Context) {
	domains := k.life.Due()
	now := k.now()
	if len(domains) > 0 && !k.again(now) {
		return
	}
	if len(domains) == 0 {
		if !k.turn.IsZero() && (!k.life.OwnWaits() || now.Sub(k.turn) > k.how.Load().turn) {
			k.leaveTurn()
		}
		return
	}
	if k.shared != nil && k.turn.IsZero() {
		mine, err := k.shared.TakeTurn(ctx)
		if err != nil || !mine {
			k.note("wait for the turn to rotate", err)
			return
		}
	}
	k.turn = now
	for _, domain := range domains {
		k.note("rotate on schedule", k.life.Rotate(domain, "schedule"))
	}
}

// again bounds how often the schedule is tried while it is another node's turn, or while no key can be made.
func (k *keeper) again(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	const schedule = "schedule" // no name of a record
	if last, was := k.looked[schedule]; was && now.Sub(last) < scheduleAgain {
		return false
	}
	k.looked[schedule] = now
	return true
}

// scheduleAgain is how long a node waits until it asks for its turn again.
const scheduleAgain = 10 * time.Second

func (k *keeper) leaveTurn() {
	k.turn = time.Time{}
	if k.shared != nil {
		k.shared.LeaveTurn()
	}
}
