package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/crowd"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Relay is a node's part in relaying. New binds all listeners but those of members' gate addresses, which come and go with
// the members; Start lets it work; Stop ends it.
type Relay struct {
	o       Options
	log     *zap.Logger
	metrics *metrics
	view    atomic.Pointer[view]
	turns   turns
	book    *book
	origins origins
	port    uint16 // of the gate
	lookups atomic.Int64
	handed  atomic.Int64
	taken   atomic.Int64

	mapping, any, nobody, hop *listener

	refusals, troubles reminders

	mu      sync.Mutex
	gates   map[string]*listener // by member
	shunned map[string]shunned
	stale   chan struct{} // of length 1: the view has to be made anew

	cancel  context.CancelFunc
	running sync.WaitGroup

	calls  context.Context // ends when calls of carriers are given up
	giveUp context.CancelFunc
}

// New opens the book and the listeners, so that whatever can be wrong is known before anything runs.
func New(o Options) (_ *Relay, err error) {
	if o.Greeting <= 0 {
		o.Greeting = greetTimeout
	}
	r := &Relay{o: o, log: o.Log, metrics: newMetrics(o.Registerer), gates: map[string]*listener{}, shunned: map[string]shunned{},
		stale: make(chan struct{}, 1), turns: turns{random: rand.Float64}, origins: origins{live: map[netip.AddrPort]string{}},
		refusals: newReminders(time.Minute), troubles: newReminders(time.Hour)}
	r.calls, r.giveUp = context.WithCancel(context.Background())
	if r.book, err = openBook(o.Book); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("relay: %w", err), r.close())
		}
	}()
	if r.any, err = listenTCP(netip.AddrPortFrom(anyCarrier, uint16(o.GatePort)).String(), maxGateConnections); err != nil { //nolint:gosec // a port
		return nil, err
	}
	r.port = r.any.Addr().(*net.TCPAddr).AddrPort().Port()
	if r.nobody, err = listenTCP(r.at(nobody), maxGateConnections); err != nil {
		return nil, err
	}
	if r.hop, err = listenTCP(o.Hop, maxHopConnections); err != nil {
		return nil, err
	}
	r.hop.strangers = crowd.New(maxStrangers)
	r.hop.crowded = func(from net.Addr) { r.refuseStranger("crowd", from, errCrowd) }
	if r.mapping, err = listenMap(o.Map); err != nil {
		return nil, err
	}
	r.view.Store(&view{off: "starting"})
	r.refresh()
	return r, nil
}

func (r *Relay) at(addr netip.Addr) string { return netip.AddrPortFrom(addr, r.port).String() }

// refreshEvery bounds how old what nobody tells of may be: this node's queue, Postfix's configuration.
const refreshEvery = time.Second

// Start lets the relay work and returns. It is called once.
func (r *Relay) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.mapping.serve(r.guard(r.serveMap))
	r.any.serve(r.guard(func(conn net.Conn) { r.handOver(conn, "") }))
	r.nobody.serve(r.guard(func(conn net.Conn) { r.refuse(conn, errNoCarrier) }))
	r.hop.serve(r.guard(r.takeOver))
	for _, changed := range r.o.Changed {
		r.running.Go(func() { r.follow(ctx, changed) })
	}
	r.running.Go(func() {
		tick := time.NewTicker(refreshEvery)
		defer tick.Stop()
		for {
			r.refresh()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-r.stale:
			}
		}
	})
}

// follow has the view made anew at every change.
func (r *Relay) follow(ctx context.Context, changed func() <-chan struct{}) {
	for {
		next := changed()
		r.touch()
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
	}
}

func (r *Relay) touch() {
	select {
	case r.stale <- struct{}{}:
	default: // it will be, anyway
	}
}

// refresh makes the view anew, and the gate's listeners those of the members.
func (r *Relay) refresh() {
	settings, members, postfix := r.o.Settings(), r.o.Members(), r.o.Postfix()
	names := make([]string, 0, len(members))
	for i := range members {
		if members[i].Name != r.o.Node && members[i].Hop != "" {
			names = append(names, members[i].Name)
		}
	}
	noGate := map[string]error{}
	unknown := r.book.enter(names)
	r.trouble("book", "a new node is no candidate yet", unknown)
	for _, name := range names {
		noGate[name] = r.open(name)
		r.trouble("gate of "+name, "no gate to a node", noGate[name])
		if noGate[name] == nil {
			noGate[name] = unknown
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.shunned, func(_ string, s shunned) bool { return !r.o.Now().Before(s.until) })
	next := newView(circumstances{self: r.o.Node, relay: settings.Relay, members: members, unfit: r.o.Unfit(), weight: r.o.Weight(),
		off: postfix.Problem, gate: r.gate, noGate: noGate, shunned: r.shunned})
	before := r.view.Swap(next)
	r.metrics.candidates.Set(float64(len(next.others) - len(next.why)))
	if before.mode != next.mode || before.off != next.off {
		r.log.Info("relaying", zap.String("mode", string(next.mode)), zap.String("settings", r.o.From()), zap.String("reason", next.off))
	}
}

// gate is a member's address, once somebody listens there; the caller holds the lock.
func (r *Relay) gate(node string) (netip.Addr, bool) {
	if r.gates[node] == nil {
		return netip.Addr{}, false
	}
	return r.book.address(node)
}

// open listens on a member's gate address. It stays open: Postfix may still have it in an answer of a while ago.
func (r *Relay) open(node string) error {
	addr, known := r.book.address(node)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gates[node] != nil || !known {
		return nil
	}
	l, err := listenTCP(r.at(addr), maxGateConnections)
	if err != nil {
		return fmt.Errorf("gate to %s: %w", node, err)
	}
	r.gates[node] = l
	l.serve(r.guard(func(conn net.Conn) { r.handOver(conn, node) }))
	return nil
}

// trouble tells of what goes wrong at every refresh until somebody mends it: when it begins, when it changes, and once an hour.
func (r *Relay) trouble(where, what string, err error) {
	if err == nil {
		r.troubles.over(where)
		return
	}
	if _, due := r.troubles.due(where, err.Error(), r.o.Now()); due {
		r.log.Warn(what, zap.Error(err))
	}
}

// shunFor is how long a member that could not be reached is left out, unless Consul or a probe finds out first.
const shunFor = 10 * time.Second

func (r *Relay) shun(node string, why error) {
	r.mu.Lock()
	r.shunned[node] = shunned{until: r.o.Now().Add(shunFor), reason: why.Error()}
	r.mu.Unlock()
	r.touch()
}

// State is what the relay does at this moment.
func (r *Relay) State() *fleet.RelayState {
	v, settings := r.view.Load(), r.o.Settings()
	return &fleet.RelayState{Mode: or2(settings.Relay.Mode, fleet.RelayOff), From: r.o.From(), Index: settings.Index,
		Wired: r.o.Postfix().Wired, Reason: r.reason(v, &settings.Relay), Candidates: v.listed, Lookups: r.lookups.Load(),
		Handed: r.handed.Load(), Taken: r.taken.Load()}
}

func or2(mode, otherwise fleet.RelayMode) fleet.RelayMode {
	if mode == "" {
		return otherwise
	}
	return mode
}

// reason says why nothing is handed over although the mode is to.
func (r *Relay) reason(v *view, settings *fleet.Relay) string {
	switch {
	case v.off != "":
		return v.off
	case or2(settings.Mode, fleet.RelayOff) == fleet.RelayOff:
		return ""
	case v.mode == fleet.RelayOff:
		return "the settings don't let this node hand mail over"
	case v.mode == fleet.RelayFailover && len(v.pool) == 0, !slices.ContainsFunc(v.base.candidates, candidate.other):
		return errNoCarrier.Error()
	}
	return ""
}

// Node tells which node of the fleet is behind an address that the SMTP client spoke to: its name, fleet.AnyCarrier where
// the gate chose, and nothing for an address that isn't the gate's. Where the port isn't known, zero, the address decides. It
// remembers members that are gone.
func (r *Relay) Node(addr string, port int) string {
	if port != 0 && port != int(r.port) {
		return ""
	}
	return r.book.node(addr)
}

// Origin tells which node handed over the connection that the local Postfix was told comes from that address and port. It
// knows those that are open; anybody else's is not from this relay, whatever a PROXY header says.
func (r *Relay) Origin(addr string, port int) (node string, ok bool) {
	return r.origins.find(addr, port)
}

// Addresses are where the relay listens, for tests that ask for any free port.
func (r *Relay) Addresses() (mapping, hop net.Addr, gate uint16) {
	return r.mapping.Addr(), r.hop.Addr(), r.port
}

// HopPort is the port where other nodes hand mail over.
func (r *Relay) HopPort() int { return r.hop.Addr().(*net.TCPAddr).Port }

// Stop takes no more questions and connections, and lets the connections with other nodes end until ctx does; then it cuts
// them off, calls that no carrier has answered yet among them, and Postfix tries again elsewhere or later.
func (r *Relay) Stop(ctx context.Context) error {
	defer r.giveUp()
	stop := context.AfterFunc(ctx, r.giveUp)
	defer stop()
	if r.cancel != nil {
		r.cancel()
	}
	r.running.Wait()
	// Postfix keeps its connections to the map open for its next question, and asks again where one is gone.
	_ = r.mapping.close() // told below
	r.mapping.cut()
	var ends sync.WaitGroup
	for _, l := range r.listeners() {
		ends.Go(func() { l.stop(ctx) })
	}
	ends.Wait()
	return r.close()
}

func (r *Relay) listeners() (list []*listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.gates {
		list = append(list, l)
	}
	for _, l := range []*listener{r.mapping, r.any, r.nobody, r.hop} {
		if l != nil {
			list = append(list, l)
		}
	}
	return list
}

func (r *Relay) close() error {
	var errs []error
	for _, l := range r.listeners() {
		if err := l.close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
