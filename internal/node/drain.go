package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
)

// drainEvery is how often a node looks whether it is to drain, and how far it is.
const drainEvery = time.Second

// drainer carries out an administrator's word that the node is to take no new mail: the mail check fails, so that nobody is
// sent here, while the milter serves who comes all the same and the queue empties. Ending the daemon is another thing: see
// Node.drain.
type drainer struct {
	dir      string // of the repository
	now      func() time.Time
	log      *zap.Logger
	sessions func() int64                 // that the milter serves
	queue    func() (*fleet.Queue, error) // as it is now

	mu    sync.Mutex
	drain *fleet.Drain // nil: the node takes mail
}

func (n *Node) buildDrain(c *config.Milter) {
	n.drains = &drainer{dir: string(c.Repository.Dir), now: n.o.Now, log: n.o.Log,
		sessions: func() int64 { return n.milter.Traffic().Connections },
		queue:    func() (*fleet.Queue, error) { return n.postfix.Queue(0) }}
	n.stops.add("drain watch", n.watching.stop)
}

// run looks at the order until ctx ends.
func (d *drainer) run(ctx context.Context) {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.look()
		}
	}
}

// look takes up a new order, and sees how far the node is. An order that can't be read changes nothing.
func (d *drainer) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	order, err := readDrain(d.dir)
	if err != nil {
		d.log.Warn("drain order not read", zap.Error(err))
		return
	}
	if order == nil {
		if d.drain != nil {
			d.log.Info("node takes mail again", zap.Duration("after", d.now().Sub(d.drain.Since)))
		}
		d.drain = nil
		return
	}
	next := d.progress(order)
	switch {
	case d.drain == nil:
		d.log.Info("node drains", zap.String("by", next.By), zap.String("reason", next.Reason), zap.String("state", next.Text))
	case next.Safe && !d.drain.Safe:
		d.log.Info("node is drained", zap.String("state", next.Text))
	}
	d.drain = next
}

// progress counts what is left. The sessions come first: what one of them brought in is in the queue by the time that it is
// counted.
func (d *drainer) progress(order *drainOrder) *fleet.Drain {
	drain := &fleet.Drain{Since: order.Since, By: order.By, Reason: order.Reason, Open: d.sessions(), Left: -1}
	queue, err := d.queue()
	if err != nil {
		drain.Text = "the queue can't be counted: " + err.Error()
		return drain
	}
	drain.Left, drain.Held = queue.Incoming+queue.Active+queue.Deferred, queue.Hold
	drain.Safe = drain.Left == 0 && drain.Open == 0
	if drain.Safe {
		drain.Text = "nothing is left: safe to reboot"
	} else {
		drain.Text = fmt.Sprintf("%s left, %s open", count(int64(drain.Left), "message"), count(drain.Open, "SMTP session"))
	}
	if drain.Held > 0 {
		drain.Text += fmt.Sprintf("; %s on hold, which stays", count(int64(drain.Held), "message"))
	}
	return drain
}

func count(n int64, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// state is nil while the node takes mail.
func (d *drainer) state() *fleet.Drain {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drain == nil {
		return nil
	}
	drain := *d.drain
	return &drain
}

// order has the node drain, or take mail again, from now on and over a restart.
func (d *drainer) order(_ context.Context, order fleet.DrainOrder) (*fleet.Drain, error) {
	if err := WriteDrain(d.dir, order, d.now()); err != nil {
		return nil, fleet.Errorf(fleet.CodeUnavailable, "%v", err)
	}
	d.look()
	return d.state(), nil
}

// check fails while the node drains.
func (d *drainer) check() fleet.Check {
	drain := d.state()
	if drain == nil {
		return fleet.Check{Name: checkDrain, OK: true, Text: "takes new mail"}
	}
	text := "drains since " + drain.Since.UTC().Format(time.RFC3339)
	if drain.By != "" {
		text += ", by " + drain.By
	}
	if drain.Reason != "" {
		text += ": " + drain.Reason
	}
	return fleet.Check{Name: checkDrain, Text: text}
}
