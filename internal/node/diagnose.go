package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// diagnostician makes the node's diagnoses: on a schedule, when an aggregator asks, and when the command on the host does. One
// runs at a time; whoever asks while one runs sees that one.
type diagnostician struct {
	node    *Node
	log     *zap.Logger
	now     func() time.Time
	kept    diagnoses
	metrics *diagnoseMetrics
	tests   *rate.Limiter // of test messages

	ending context.Context // ends with the daemon
	runs   sync.WaitGroup

	mu      sync.Mutex
	running *fleet.Diagnosis
	latest  *fleet.Diagnosis
	history []fleet.DiagnosisOutline
	next    time.Time // zero: none is due
	every   time.Duration
	told    told // by an aggregator
	// toldKept is when told was written to its file.
	toldKept time.Time
}

// keepToldEvery is how often what is told is written although nothing changed.
const keepToldEvery = time.Hour

// Times of the schedule.
const (
	diagnoseTick  = time.Second
	diagnoseFirst = 2 * time.Minute // from the daemon's start to the first diagnosis of all
	diagnoseSpan  = 5 * time.Minute // the longest that one may take
)

// toldFile keeps what an aggregator told of the other nodes.
const toldFile = "fleet.json"

func (n *Node) buildDiagnose(c *config.Milter) error {
	d := &diagnostician{node: n, log: n.o.Log.Named("diagnose"), now: n.o.Now, kept: diagnosesOf(string(c.Repository.Dir)),
		metrics: newDiagnoseMetrics(n.o.Registry), tests: rate.NewLimiter(rate.Every(10*time.Second), 6)}
	err := os.MkdirAll(d.kept.dir, 0o750) // where the command on the host asks
	if err != nil {
		return fmt.Errorf("diagnoses: %w", err)
	}
	if d.latest, d.history, err = d.kept.list(); err != nil {
		d.log.Warn("past diagnoses not read", zap.Error(err))
	}
	if d.latest != nil {
		d.metrics.show(d.latest)
	}
	d.told = readTold(d.kept.dir)
	d.schedule(c.Diagnose.Every.Std())
	n.diagnostics = d
	var end context.CancelFunc
	d.ending, end = context.WithCancel(context.Background())
	n.stops.add("diagnostics", func(ctx context.Context) error {
		end()
		err := n.diagnosing.stop(ctx)
		d.runs.Wait()
		return err
	})
	return nil
}

// schedule says when the next diagnosis is due: a tenth sooner or later, so that a fleet doesn't ask DNS and blocklists all at
// once.
func (d *diagnostician) schedule(every time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.every = every
	switch {
	case every == 0:
		d.next = time.Time{}
	case d.latest == nil:
		d.next = d.now().Add(min(every, diagnoseFirst))
	default:
		d.next = d.latest.Started.Add(every*9/10 + rand.N(every/5+1))
		if soon := d.now().Add(min(every, diagnoseFirst)); d.next.Before(soon) {
			d.next = soon
		}
		if late := d.now().Add(every * 11 / 10); d.next.After(late) { // the clock was ahead when the last one was made
			d.next = late
		}
	}
}

// run keeps the schedule, and looks for what the command on the host asks, until ctx ends.
func (d *diagnostician) run(ctx context.Context) {
	tick := time.NewTicker(diagnoseTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.mu.Lock()
		planned := d.every
		d.mu.Unlock()
		if every := d.node.live.Load().config.Diagnose.Every.Std(); every != planned {
			d.schedule(every)
		}
		d.mu.Lock()
		busy, due := d.running != nil, !d.next.IsZero() && !d.now().Before(d.next)
		d.mu.Unlock()
		if busy {
			continue
		}
		if request, asked := takeRequest(d.kept.dir); asked {
			d.begin(request)
		} else if due {
			d.begin(fleet.DiagnoseRequest{Cause: fleet.CauseSchedule})
		}
	}
}

// Diagnoses implements [nodeapi.Diagnostics].
func (d *diagnostician) Diagnoses() *fleet.Diagnoses {
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := &fleet.Diagnoses{Latest: d.latest, History: slices.Clone(d.history), Next: d.next}
	if d.running != nil {
		running := *d.running
		running.Findings = slices.Clone(running.Findings)
		answer.Running = &running
	}
	return answer
}

// Diagnose implements [nodeapi.Diagnostics].
func (d *diagnostician) Diagnose(request fleet.DiagnoseRequest) (*fleet.Diagnoses, error) {
	for _, name := range request.Checks {
		if !slices.ContainsFunc(diagnose.Table, func(c diagnose.Check) bool { return c.Name == name }) {
			return nil, fleet.Invalid("checks", "no check %.40q", name)
		}
	}
	if len(request.Fleet) > 0 {
		d.hear(request.Fleet)
	}
	if request.Hear {
		return &fleet.Diagnoses{}, nil
	}
	d.begin(request)
	return d.Diagnoses(), nil
}

// hear remembers what an aggregator says of the other nodes, also for scheduled runs and over a restart.
func (d *diagnostician) hear(peers []fleet.Peer) {
	heard := told{Seen: d.now().UTC()}
	d.mu.Lock()
	for _, p := range peers {
		if i := slices.IndexFunc(d.told.Peers, func(was fleet.Peer) bool { return was.Name == p.Name }); p.Error != "" && i >= 0 {
			was := &d.told.Peers[i] // it is away, and sends from where it did
			p.Egress, p.Selectors, p.Takes = was.Egress, was.Selectors, was.Takes
		}
		heard.Peers = append(heard.Peers, p)
	}
	write := !sameButClocks(d.told.Peers, heard.Peers) || heard.Seen.Sub(d.toldKept) > keepToldEvery
	d.told = heard
	if write {
		d.toldKept = heard.Seen
	}
	d.mu.Unlock()
	if !write {
		return // the file says the same, but for clocks, which are too old by the time that it is read
	}
	if err := writeTold(d.kept.dir, heard); err != nil {
		d.log.Warn("what is known of the other nodes not kept", zap.Error(err))
	}
}

// begin starts a diagnosis unless one runs.
func (d *diagnostician) begin(request fleet.DiagnoseRequest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running != nil || d.ending.Err() != nil {
		return
	}
	total := len(diagnose.Table)
	if len(request.Checks) > 0 {
		total = len(request.Checks)
	}
	d.running = &fleet.Diagnosis{Node: d.node.name, Cause: request.Cause, By: clip(request.By), Started: d.now().UTC(), Total: total, Request: request.ID}
	d.runs.Go(func() { d.make(request) })
}

// make makes one diagnosis.
func (d *diagnostician) make(request fleet.DiagnoseRequest) {
	ctx, cancel := context.WithTimeout(d.ending, diagnoseSpan)
	defer cancel()
	facts := d.inquiry(ctx).facts(ctx)
	findings, err := diagnose.Run(ctx, facts, diagnose.RunOptions{Checks: request.Checks, Progress: func(found fleet.Finding) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.running.Findings = append(d.running.Findings, found)
	}})
	d.mu.Lock()
	done := d.running
	d.running = nil
	d.mu.Unlock()
	if err != nil || d.ending.Err() != nil {
		d.log.Warn("diagnosis not made", zap.Error(err))
		return
	}
	done.Findings, done.Ended, done.Egress, done.HELO = findings, d.now().UTC(), facts.Egress, facts.HELO
	d.finish(done, len(request.Checks) > 0)
}

// finish keeps a diagnosis. One of some checks alone takes what the last one found of the others.
func (d *diagnostician) finish(done *fleet.Diagnosis, partial bool) {
	d.mu.Lock()
	before := d.latest
	d.mu.Unlock()
	if partial && before != nil {
		done.Findings = merged(done.Findings, before.Findings)
		done.Total = len(done.Findings)
	}
	var changes []fleet.GradeChange
	if before != nil {
		changes = diagnose.Compare(done.Findings, before.Findings)
	}
	short := outline(done, before)
	c := &d.node.live.Load().config.Diagnose
	d.mu.Lock()
	d.latest = done
	d.history = append([]fleet.DiagnosisOutline{short}, d.history[:min(len(d.history), c.Keep-1)]...)
	d.mu.Unlock()
	d.metrics.show(done)
	d.metrics.made(done, len(changes))
	if err := d.kept.keep(done, c.Keep); err != nil {
		d.log.Warn("diagnosis not kept", zap.Error(err))
	}
	d.schedule(c.Every.Std())
	d.log.Info("diagnosis made", zap.String("cause", string(done.Cause)), zap.String("by", done.By), zap.Duration("took", done.Ended.Sub(done.Started)),
		zap.Int("failed", done.Count(fleet.GradeFail)), zap.Int("warned", done.Count(fleet.GradeWarn)), zap.Int("unknown", done.Count(fleet.GradeUnknown)),
		zap.Int("changed", len(changes)))
}

// merged puts new findings in the place of old ones, in the order of the table.
func merged(found, before []fleet.Finding) (all []fleet.Finding) {
	for _, check := range diagnose.Table {
		is := func(f fleet.Finding) bool { return f.Check == check.Name }
		if i := slices.IndexFunc(found, is); i >= 0 {
			all = append(all, found[i])
		} else if i := slices.IndexFunc(before, is); i >= 0 {
			all = append(all, before[i])
		}
	}
	return all
}

// inquiry has the daemon's own knowledge.
func (d *diagnostician) inquiry(ctx context.Context) *inquiry {
	n := d.node
	live := n.live.Load()
	q := &inquiry{name: n.name, config: live.config, signer: live.signer, postfix: n.postfix, store: n.store, started: n.started, now: d.now}
	if seen := n.follower.capture(); seen == "on" || seen == "off" {
		q.capture = string(seen)
	}
	q.keys = n.keys.life.Keys().Keys
	n.keys.mu.Lock()
	q.claims = slices.Clone(n.keys.peers.Claims)
	n.keys.mu.Unlock()
	q.peers, q.relay = d.peers(ctx), n.settings.Settings().Relay
	return q
}

// egress is what the last diagnosis found, or the configuration says.
func (d *diagnostician) egress() []fleet.Egress {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest != nil && len(d.latest.Egress) > 0 {
		return d.latest.Egress
	}
	var list []fleet.Egress
	for _, address := range d.node.live.Load().config.Node.Addresses {
		list = append(list, fleet.Egress{Address: address, From: "configured"})
	}
	return list
}

func toldPath(dir string) string { return filepath.Join(dir, toldFile) }
