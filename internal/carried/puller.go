package carried

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Store is the origin's repository.
type Store interface {
	// Awaiting lists the messages of which another node has yet to tell what became of them, sorted. It is called every second.
	Awaiting() []fleet.MessageID
	Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error)
	Append(ctx context.Context, events ...*fleet.Event) error
	Recording() fleet.Recording
}

// Carrier is another node, as it is asked.
type Carrier interface {
	Carried(ctx context.Context, mails []fleet.Handover) ([][]fleet.Report, error)
	Close() error
}

// Options make a puller.
type Options struct {
	Node    string // this node's name
	Store   Store
	Members func() []fleet.Member                      // of the fleet, this node among them or not
	Connect func(member fleet.Member) (Carrier, error) // with its API's address
	Log     *zap.Logger
	Metrics *Metrics
	Now     func() time.Time

	MaxMails      int           // in one question
	MaxRecipients int           // in one question, of all mails
	Every         time.Duration // how often it is looked whether something is due; 0: 1 s
	Timeout       time.Duration // of one question; 0: 10 s
}

// perRound bounds the messages that are read in one round; the rest follow in the next.
const perRound = 1000

// Puller asks carriers what became of this node's mail.
type Puller struct {
	o        Options
	schedule schedule
	members  map[string]*member
	answers  chan answer
	asking   sync.WaitGroup

	mu    sync.Mutex
	state State
}

// State is how the puller fares.
type State struct {
	Waiting int               // messages of which a carrier has yet to tell
	Silent  map[string]string // carriers that don't answer, and why
}

// New makes a puller.
func New(o Options) *Puller {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	p := &Puller{o: o, members: map[string]*member{}, answers: make(chan answer)}
	o.Metrics.waiting.Set(0)
	return p
}

// State may be asked at any time.
func (p *Puller) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Run asks until ctx ends.
func (p *Puller) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	tick := time.NewTicker(p.o.Every)
	defer tick.Stop()
	defer func() {
		cancel()
		p.asking.Wait()
		for _, m := range p.members {
			m.close()
		}
	}()
	for {
		p.round(ctx)
		select {
		case <-ctx.Done():
			return
		case a := <-p.answers:
			p.take(a)
		case <-tick.C:
		}
	}
}

// round asks about what is due.
func (p *Puller) round(ctx context.Context) {
	now := p.o.Now()
	p.schedule.follow(p.o.Store.Awaiting(), now)
	p.report()
	if len(p.schedule.entries) == 0 || p.o.Store.Recording().State != recordingOK {
		return
	}
	p.meet(p.o.Members())
	due := p.schedule.due(now, perRound, func(carrier string) bool { return p.canAsk(carrier, now) })
	for _, e := range due {
		m, err := p.o.Store.Message(ctx, e.id)
		if err != nil {
			if ctx.Err() == nil && fleet.CodeOf(err) != fleet.CodeNotFound {
				p.o.Log.Warn("a message in transit can't be read", zap.Stringer("id", e.id), zap.Error(err))
			}
			e.due = now.Add(oldest)
			continue
		}
		p.queue(e, m, now)
	}
	for _, m := range p.members {
		p.ask(ctx, m)
	}
}

const recordingOK = "ok"

// queue puts a message's handovers before those who took them.
func (p *Puller) queue(e *entry, m *fleet.Message, now time.Time) {
	e.carriers = e.carriers[:0]
	e.due = now.Add(interval(now.Sub(e.id.Time())))
	for _, h := range m.Handovers() {
		e.due = now.Add(interval(now.Sub(h.Time)))
		e.carriers = append(e.carriers, h.Carrier)
		for name, to := range p.members {
			if (name == h.Carrier || h.Carrier == fleet.AnyCarrier) && to.canAsk(now) {
				to.add(m, h, p.o.MaxRecipients)
				e.asked = true
			}
		}
	}
}

// canAsk tells whether anybody who may have taken the mail can be asked now.
func (p *Puller) canAsk(carrier string, now time.Time) bool {
	if carrier != fleet.AnyCarrier {
		m := p.members[carrier]
		return m != nil && m.canAsk(now)
	}
	for _, m := range p.members {
		if m.canAsk(now) {
			return true
		}
	}
	return false
}

// meet takes over who the members are and where they are reached.
func (p *Puller) meet(list []fleet.Member) {
	for name, m := range p.members {
		if !m.busy && !slices.ContainsFunc(list, func(l fleet.Member) bool { return l.Name == name && l.API == m.api }) {
			m.close()
			delete(p.members, name)
		}
	}
	for _, l := range list {
		if l.Name != p.o.Node && l.Name != "" && l.API != "" && p.members[l.Name] == nil {
			p.members[l.Name] = &member{name: l.Name, api: l.API, member: l}
		}
	}
}

// report publishes how it goes.
func (p *Puller) report() {
	state := State{Waiting: len(p.schedule.entries), Silent: map[string]string{}}
	for name, m := range p.members {
		if m.failures > 1 {
			state.Silent[name] = m.reason
		}
	}
	p.o.Metrics.waiting.Set(float64(state.Waiting))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
}
