package carried

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// member is another node, with what it is to be asked.
type member struct {
	name   string
	api    string
	member fleet.Member
	conn   Carrier // nil before the first question
	mails  []mail
	busy   bool // it is being asked

	failures int // in a row
	reason   string
	until    time.Time // not asked before
}

// mail is what one member is asked about.
type mail struct {
	message  *fleet.Message
	handover fleet.Handover
}

// How long a member that doesn't answer is left alone: twice as long each time, jitter aside.
const (
	firstPause = time.Second
	lastPause  = 2 * time.Minute
)

func (m *member) canAsk(now time.Time) bool { return !m.busy && !m.until.After(now) }

func (m *member) close() {
	if m.conn != nil {
		_ = m.conn.Close() // connections that are kept for later; nothing is under way
		m.conn = nil
	}
}

// add puts a mail on the list, in parts where it has more recipients than one question may.
func (m *member) add(of *fleet.Message, h fleet.Handover, most int) {
	if len(h.Recipients)+len(h.Others) > most {
		h.Others = nil // the carrier sees that they are not all
	}
	for recipients := range slices.Chunk(h.Recipients, most) {
		part := h
		part.Recipients = recipients
		m.mails = append(m.mails, mail{message: of, handover: part})
	}
}

// answer is what came of asking a member.
type answer struct {
	member *member
	conn   Carrier
	mails  []mail
	err    error // the carrier's
}

// ask asks a member about its mails, beside the loop.
func (p *Puller) ask(ctx context.Context, m *member) {
	if len(m.mails) == 0 || m.busy {
		return
	}
	a := answer{member: m, conn: m.conn, mails: m.mails}
	m.mails, m.busy = nil, true
	fresh := a.conn == nil
	p.asking.Go(func() {
		if fresh {
			if a.conn, a.err = p.o.Connect(m.member); a.err != nil {
				a.conn = nil
			}
		}
		for rest := a.mails; len(rest) > 0 && a.err == nil; {
			var some []mail
			some, rest = p.batch(rest)
			a.err = p.askAbout(ctx, &a, some)
		}
		select {
		case p.answers <- a:
		case <-ctx.Done():
			if fresh && a.conn != nil { // nobody else knows of it
				_ = a.conn.Close()
			}
		}
	})
}

// batch cuts off as many mails as one question may have; at least one.
func (p *Puller) batch(mails []mail) (some, rest []mail) {
	recipients := 0
	for i := range mails {
		recipients += len(mails[i].handover.Recipients) + len(mails[i].handover.Others)
		if i > 0 && (i == p.o.MaxMails || recipients > p.o.MaxRecipients) {
			return mails[:i], mails[i:]
		}
	}
	return mails, nil
}

// askAbout puts one question and records the answer.
func (p *Puller) askAbout(ctx context.Context, a *answer, mails []mail) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	question := make([]fleet.Handover, len(mails))
	for i := range mails {
		question[i] = mails[i].handover
	}
	told, err := a.conn.Carried(ctx, question)
	p.o.Metrics.asked(err)
	if err != nil {
		return err
	}
	var events []*fleet.Event
	for i, reports := range told {
		for j := range reports {
			events = append(events, fleet.NewReported(mails[i].message, &reports[j]))
		}
	}
	p.o.Metrics.reports.Add(float64(len(events)))
	for some := range slices.Chunk(events, perCommit) {
		if err := p.o.Store.Append(ctx, some...); err != nil && ctx.Err() == nil {
			p.o.Log.Warn("what a carrier told is not recorded, it is asked again", zap.String("carrier", a.member.name), zap.Error(err))
		}
	}
	return nil
}

// perCommit bounds the events that are committed at once: the milter's records, which mail waits for, come in between.
const perCommit = 100

// take notes what came of asking.
func (p *Puller) take(a answer) {
	m, now := a.member, p.o.Now()
	m.busy, m.conn = false, a.conn
	for i := range a.mails {
		if e := p.schedule.find(a.mails[i].message.ID); e != nil {
			e.asked = false
		}
	}
	if a.err == nil {
		if m.failures > 0 {
			p.o.Log.Info("a carrier answers again", zap.String("carrier", m.name))
		}
		m.failures, m.reason, m.until = 0, "", time.Time{}
		return
	}
	if m.failures == 0 {
		p.o.Log.Warn("a carrier doesn't tell what became of mail", zap.String("carrier", m.name), zap.Error(a.err))
	}
	m.failures++
	m.reason = a.err.Error()
	m.until = now.Add(spread(min(firstPause<<min(m.failures-1, 20), lastPause)))
	for i := range a.mails { // as soon as it answers
		if e := p.schedule.find(a.mails[i].message.ID); e != nil {
			e.due = now
		}
	}
}
