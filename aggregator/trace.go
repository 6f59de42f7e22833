package aggregator

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/postfleet/postfleet/aggregator/advice"
	"github.com/postfleet/postfleet/internal/fleet"
)

// TraceAnswer is what became of the mail that a sender and a recipient, or an id, name.
type TraceAnswer struct {
	Searched TraceSearch  `json:"searched"`
	Verdict  TraceVerdict `json:"verdict"`
	Words    string       `json:"words"`
	Mails    []TracedMail `json:"mails"` // newest first
	More     bool         `json:"more"`  // there are older ones
	Near     []NearMiss   `json:"near"`  // where nothing was found: what looks like it
	Nodes    []TracedNode `json:"nodes"`
}

// TraceSearch is what was searched.
type TraceSearch struct {
	Sender    string    `json:"sender,omitempty"`
	Recipient string    `json:"recipient,omitempty"`
	QueueID   string    `json:"queue_id,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	Node      string    `json:"node,omitempty"`
	Since     time.Time `json:"since,omitzero"` // absent: any time
	Until     time.Time `json:"until,omitzero"` // absent: now
}

// TraceVerdict says in one word what became of a mail.
type TraceVerdict string

// The verdicts.
const (
	TraceDelivered TraceVerdict = "delivered"
	TraceQueued    TraceVerdict = "queued" // waits here, or with the node that carries it
	TraceFailed    TraceVerdict = "failed" // bounced, expired, refused, thrown away or given up by the client
	TraceHeld      TraceVerdict = "held"
	TracePartly    TraceVerdict = "partly"     // some of the recipients that were asked for got it
	TraceMixed     TraceVerdict = "mixed"      // several mails with several verdicts
	TraceUnknown   TraceVerdict = "unknown"    // left the queue, and the log doesn't say how
	TraceNeverSeen TraceVerdict = "never_seen" // no node that answered has it
)

// TracedMail is one mail that was found, as far as the recipients go that were asked for.
type TracedMail struct {
	Message fleet.Message  `json:"message"`
	Verdict TraceVerdict   `json:"verdict"`
	Words   string         `json:"words"`
	Journey *Journey       `json:"journey"`
	Advice  []TracedAdvice `json:"advice"`
}

// TracedAdvice is what to do about recipients that didn't get the mail, for one reason.
type TracedAdvice struct {
	Recipients []string      `json:"recipients"` // the first few
	Count      int           `json:"count"`
	DSN        string        `json:"dsn,omitempty"`
	Reply      string        `json:"reply"`
	Advice     advice.Advice `json:"advice"`
}

// NearMiss is a mail that isn't the one searched for, and much like it.
type NearMiss struct {
	Why     string        `json:"why"` // sender, recipient or time: what is the same, or that another time is
	Message fleet.Message `json:"message"`
}

// TracedNode is how far a node's word goes.
type TracedNode struct {
	Node     string    `json:"node"`
	Error    string    `json:"error,omitempty"`     // why it could not be asked
	AsOf     time.Time `json:"as_of,omitzero"`      // with Error: what is here of it is from memory, as known then
	Since    time.Time `json:"since,omitzero"`      // of its oldest record
	LastLine time.Time `json:"last_line,omitzero"`  // of its log that was read
	Behind   int64     `json:"behind_bytes"`        // of its log that were not read yet
	Limits   []string  `json:"limits"`              // in words: what may be missing of it
	LogError string    `json:"log_error,omitempty"` // why its log isn't read
}

// The bounds of a trace.
const (
	defaultTraceSpan  = 24 * time.Hour
	defaultTraceLimit = 10
	maxTraceLimit     = 50
	mostNear          = 3 // near misses of a kind
	atOnce            = 8 // mails that are followed at the same time, each over several nodes
)

// traceQuery reads what is to be traced. Without a time, mail of the last day is; an id is looked for at any time.
func traceQuery(values url.Values, now time.Time) (fleet.Query, error) {
	q, err := fleet.ParseQuery(values, now)
	if err != nil {
		return q, err
	}
	if q.Limit == 0 {
		q.Limit = defaultTraceLimit
	}
	switch {
	case q.Limit > maxTraceLimit:
		return q, fleet.Invalid("limit", "%d is not a number from 1 to %d", q.Limit, maxTraceLimit)
	case q.Sender == "" && q.Recipient == "" && q.QueueID == "" && q.MessageID == "":
		return q, fleet.Invalid("sender", "nothing to trace: give a sender and a recipient, a queue id or a message id")
	case q.QueueID == "" && q.MessageID == "" && q.Since.IsZero():
		until := q.Until
		if until.IsZero() {
			until = now
		}
		q.Since = until.Add(-defaultTraceSpan)
	}
	return q, q.Validate()
}

// trace finds the mail, follows each over the nodes, and says what became of it.
func (s *Server) trace(ctx context.Context, q fleet.Query) (*TraceAnswer, error) {
	list, err := s.fleet.Messages(ctx, q, "")
	if err != nil {
		return nil, err
	}
	answer := &TraceAnswer{Searched: searched(&q), Mails: []TracedMail{}, Near: []NearMiss{}, More: list.Next != "" && len(list.Messages) == q.Limit}
	messages := s.origins(ctx, list.Messages)
	answer.Mails = make([]TracedMail, len(messages))
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range messages {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			answer.Mails[i] = s.follow(ctx, &q, messages[i])
		})
	}
	all.Go(func() { answer.Nodes = s.tracedNodes(ctx, &q, list.Nodes) })
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(answer.Mails) == 0 {
		answer.Near = s.nearMisses(ctx, q)
	}
	answer.Verdict, answer.Words = sumUp(answer)
	return answer, nil
}

func searched(q *fleet.Query) TraceSearch {
	return TraceSearch{Sender: q.Sender, Recipient: q.Recipient, QueueID: q.QueueID, MessageID: q.MessageID, Node: q.Node, Since: q.Since, Until: q.Until}
}

// origins puts the mail itself in the place of a hop that was found by its queue id.
func (s *Server) origins(ctx context.Context, found []fleet.Message) (messages []fleet.Message) {
	there := map[hopKey]bool{}
	add := func(m *fleet.Message) {
		if key := (hopKey{m.Node, m.ID}); !there[key] {
			there[key] = true
			messages = append(messages, *m)
		}
	}
	for i := range found {
		m := &found[i]
		if origin, _ := s.originMessage(ctx, m); origin != nil {
			add(origin)
			continue
		}
		add(m)
	}
	return messages
}

// follow says what became of one mail.
func (s *Server) follow(ctx context.Context, q *fleet.Query, m fleet.Message) TracedMail {
	asked := askedOf(q, &m)
	one := TracedMail{Message: m}
	var talks []fleet.Transcript
	if slices.ContainsFunc(asked.Recipients, handedByRelay) {
		talks, _, _ = s.fleet.Transcripts(ctx, m.Node, m.ID) // without them the way is shorter, not wrong
	}
	one.Journey = newJourney(&asked, s.hopsOf(ctx, &asked), talks)
	one.Verdict, one.Words = verdictOf(&asked, one.Journey)
	one.Advice = s.tracedAdvice(&asked)
	return one
}

// askedOf is the message with those of its recipients that were asked for.
func askedOf(q *fleet.Query, m *fleet.Message) fleet.Message {
	asked := *m
	asked.Recipients = slices.DeleteFunc(slices.Clone(m.Recipients), func(r fleet.Recipient) bool { return !concerns(q, m, r) })
	if len(asked.Recipients) == 0 {
		asked.Recipients = m.Recipients
	}
	return asked
}

// concerns tells whether a recipient is one that was asked for.
func concerns(q *fleet.Query, m *fleet.Message, r fleet.Recipient) bool {
	if q.Recipient == "" {
		return true
	}
	one := *m
	one.Recipients = []fleet.Recipient{r}
	return (&fleet.Query{Recipient: q.Recipient, Hops: fleet.HopsYes}).Match(&one)
}

func handedByRelay(r fleet.Recipient) bool {
	n := len(r.Attempts)
	return n > 0 && r.Attempts[n-1].Hop == fleet.AnyCarrier
}

// tracedAdvice is what to do, once for each reason.
func (s *Server) tracedAdvice(m *fleet.Message) []TracedAdvice {
	all := []TracedAdvice{}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		about := slices.IndexFunc(all, func(a TracedAdvice) bool {
			return fleet.RefusalReason(a.Reply) == fleet.RefusalReason(r.Reply) && a.DSN == r.DSN
		})
		if about >= 0 {
			all[about].add(r.Address)
			continue
		}
		if len(all) == mostBranches {
			break
		}
		if found := s.adviceFor(r); found != nil {
			whole(&found.Links)
			all = append(all, TracedAdvice{DSN: r.DSN, Reply: r.Reply, Advice: *found})
			all[len(all)-1].add(r.Address)
		}
	}
	return all
}

func (a *TracedAdvice) add(address string) {
	a.Count++
	if len(a.Recipients) < mostNamed {
		a.Recipients = append(a.Recipients, address)
	}
}
