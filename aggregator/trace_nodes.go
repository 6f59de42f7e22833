package aggregator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// logSlack is how old the last line of a quiet log may be before that is worth a word.
const logSlack = 10 * time.Minute

// tracedNodes says of each node that was asked how far its word goes.
func (s *Server) tracedNodes(ctx context.Context, q *fleet.Query, answers []Answer) []TracedNode {
	views := map[string]NodeView{}
	for _, view := range s.fleet.Nodes(ctx) {
		views[view.Member.Name] = view
	}
	nodes := []TracedNode{}
	for _, answer := range answers {
		node := TracedNode{Node: answer.Node, Error: answer.Error, AsOf: answer.AsOf, Limits: []string{}}
		limit := func(format string, args ...any) { node.Limits = append(node.Limits, fmt.Sprintf(format, args...)) }
		switch {
		case node.Error != "" && !node.AsOf.IsZero():
			limit("did not answer: what is here of it is from memory, as of %s", node.AsOf.UTC().Format("2006-01-02 15:04:05 UTC"))
		case node.Error != "":
			limit("did not answer, so what it has is not here")
		}
		if info := views[answer.Node].Info; info != nil {
			node.Since, node.LastLine, node.Behind, node.LogError = info.Recording.Oldest, info.Log.LastLine, info.Log.BehindBytes, info.Log.Error
			s.limits(info, q, limit)
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// limits tells what may be missing of a node that answered.
func (s *Server) limits(info *fleet.NodeInfo, q *fleet.Query, limit func(string, ...any)) {
	switch {
	case info.Log.Error != "":
		limit("its log isn't read: %s", clip(info.Log.Error, 200))
	case info.Log.BehindBytes > 0:
		limit("%s of its log are not read yet: what is in there comes later", sizeWords(info.Log.BehindBytes))
	case !info.Log.LastLine.IsZero() && s.clock().Sub(info.Log.LastLine) > logSlack:
		limit("its log has no line since %s", info.Log.LastLine.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if oldest := info.Recording.Oldest; !oldest.IsZero() && !q.Since.IsZero() && q.Since.Before(oldest) {
		limit("it has nothing from before %s", oldest.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if info.Recording.State != "" && info.Recording.State != "ok" {
		limit("it records nothing at the moment: %s", clip(info.Recording.Reason, 200))
	}
}

// nearMisses are mails that differ from the one searched for in one thing.
func (s *Server) nearMisses(ctx context.Context, q fleet.Query) []NearMiss {
	q.Limit = mostNear
	var questions []nearQuestion
	if q.Sender != "" && q.Recipient != "" {
		sender, recipient := q, q
		sender.Recipient, recipient.Sender = "", ""
		questions = append(questions, nearQuestion{"sender", sender}, nearQuestion{"recipient", recipient})
	}
	if (q.Sender != "" || q.Recipient != "") && (!q.Since.IsZero() || !q.Until.IsZero()) {
		always := q
		always.Since, always.Until = time.Time{}, time.Time{}
		questions = append(questions, nearQuestion{"time", always})
	}
	found := make([][]NearMiss, len(questions))
	var all sync.WaitGroup
	for i, one := range questions {
		all.Go(func() {
			list, err := s.fleet.Messages(ctx, one.q, "")
			if err != nil {
				return // the search itself was answered; this is an extra
			}
			for j := range list.Messages {
				found[i] = append(found[i], NearMiss{one.why, list.Messages[j]})
			}
		})
	}
	all.Wait()
	near, there := []NearMiss{}, map[hopKey]bool{}
	for _, some := range found {
		for _, one := range some {
			if key := (hopKey{one.Message.Node, one.Message.ID}); !there[key] {
				there[key] = true
				near = append(near, one)
			}
		}
	}
	return near
}

// nearQuestion asks for mail that is the same in one thing.
type nearQuestion struct {
	why string
	q   fleet.Query
}
