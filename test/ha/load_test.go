package ha

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// every is how often each sender of the steady load has a new mail.
const every = 250 * time.Millisecond

// load is mail that comes all the time, by all senders.
type load struct {
	senders []*sender
	stop    context.CancelFunc // no new mail; what is there is still delivered
	running sync.WaitGroup
}

func startLoad(ctx context.Context, senders ...*sender) *load {
	l := &load{senders: senders}
	var coming context.Context
	coming, l.stop = context.WithCancel(ctx)
	for _, sender := range senders {
		l.running.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for number := 1; ; number++ {
				select {
				case <-coming.Done():
					return
				case <-tick.C:
					mail := mailFor(fmt.Sprintf("%s %d", sender.path, number))
					if number%3 == 0 {
						mail.Subject = slow
					}
					l.running.Go(func() { sender.deliver(ctx, mail) })
				}
			}
		})
	}
	return l
}

// goesOn waits until every sender got rid of so many further mails.
func (l *load) goesOn(t *testing.T, ctx context.Context, mails int) {
	t.Helper()
	goal := make([]int, len(l.senders))
	for i, sender := range l.senders {
		goal[i] = len(sender.sentMails()) + mails
	}
	until(t, ctx, func(context.Context) error {
		for i, sender := range l.senders {
			if done := len(sender.sentMails()); done < goal[i] {
				return fmt.Errorf("%s: %d mails, want %d", sender.path, done, goal[i])
			}
		}
		return nil
	})
}

// end lets the last mails go out.
func (l *load) end() (all []*sent) {
	l.stop()
	l.running.Wait()
	for _, sender := range l.senders {
		all = append(all, sender.sentMails()...)
	}
	return all
}

// phase is a time of the run; a quiet one has no fault.
type phase struct {
	name  string
	from  time.Time // until the next one
	quiet bool
}

// phases follow each other without a gap.
type phases []phase

func (p *phases) begin(name string, quiet bool) {
	*p = append(*p, phase{name: name, from: time.Now(), quiet: quiet})
}

// of is the phase in which an attempt began; of one that failed it is the fault that came before its end, if one did.
func (p phases) of(a *attempt) *phase {
	at := 0
	for i := range p {
		if !a.begin.Before(p[i].from) {
			at = i
		}
	}
	for i := at; i < len(p) && a.cause != accepted; i++ {
		if !p[i].quiet && p[i].from.Before(a.end) {
			return &p[i]
		}
	}
	return &p[at]
}

// mode is the mode of relaying that held all the time between two moments.
func (p phases) mode(from, to time.Time) string {
	mode := "changing"
	for i, phase := range p {
		if phase.from.After(to) || i+1 < len(p) && p[i+1].from.Before(from) {
			continue
		}
		name, _, steady := strings.Cut(phase.name, ":")
		if !steady || mode != "changing" && mode != name {
			return "changing"
		}
		mode = name
	}
	return mode
}

// drainNode is what the administrator of a node types.
func (s *site) drainNode(ctx context.Context, n *node, args ...string) error {
	_, err := n.host.Run(ctx, binary, append(args, "--config", n.daemon.Config)...)
	return err
}

const leaves = "drained"

// drained is a fault that is none: the node leaves in good order.
func (s *site) drained() fault {
	return fault{leaves,
		func(ctx context.Context, n *node) error { return s.drainNode(ctx, n, "drain", "--reason", "test") },
		func(ctx context.Context, n *node) error {
			// Only a node that says that it is safe to reboot is brought back.
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := s.drainNode(ctx, n, "drain", "--wait"); err != nil {
				return err
			}
			if queue, err := n.postfix.Queue(ctx); err != nil || len(queue) > 0 {
				return fmt.Errorf("the node says that it is safe to reboot, with %d mails in its queue (%w)", len(queue), err)
			}
			return s.drainNode(ctx, n, "undrain")
		}}
}

// noWayOut is a node that reaches the fleet, and not the remote server.
var noWayOut = fault{"no way to the remote server",
	func(ctx context.Context, n *node) error {
		_, err := n.host.Run(ctx, "ip", "route", "add", "unreachable", sinkIP+"/32")
		return err
	},
	func(ctx context.Context, n *node) error {
		_, err := n.host.Run(ctx, "ip", "route", "del", "unreachable", sinkIP+"/32")
		return err
	}}

// lead has a node's Consul server lead the others, so that a fault of the node is as hard as it gets.
func lead(ctx context.Context, n *node) error {
	return lab.Until(ctx, func(ctx context.Context) error {
		leader, err := n.consul.Leader(ctx)
		if err != nil || leader == n.host.IP+":8300" {
			return err
		}
		if err := n.consul.Lead(ctx); err != nil {
			return err
		}
		return fmt.Errorf("Consul's leader was %s, want %s", leader, n.name)
	})
}
