package aggregator

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gorilla/mux"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// NodeOrder says why a node is to drain, in words for who sees it.
type NodeOrder struct {
	Reason string `json:"reason,omitempty"`
}

// NodeOrdered is what came of an order to a node.
type NodeOrdered struct {
	Node  string       `json:"node"`
	Drain *fleet.Drain `json:"drain,omitempty"` // while it drains
}

// maxReason is how long the reason of an order may be.
const maxReason = 200

// order is what an operator can tell the fleet to do with a node.
type order struct {
	Name   string // last part of its paths
	Action Action
	Role   accounts.Role
	do     func(s *Server, ctx context.Context, node string, by User, reason string) (*fleet.Drain, error)
}

var orders = []order{
	{"drain", ActionDrain, accounts.Operator, func(s *Server, ctx context.Context, node string, by User, reason string) (*fleet.Drain, error) {
		return s.fleet.Drain(ctx, node, fleet.DrainOrder{On: true, By: by.Name, Reason: reason})
	}},
	{"undrain", ActionUndrain, accounts.Operator, func(s *Server, ctx context.Context, node string, by User, _ string) (*fleet.Drain, error) {
		return s.fleet.Drain(ctx, node, fleet.DrainOrder{By: by.Name})
	}},
	{"forget", ActionForget, accounts.Admin, func(s *Server, ctx context.Context, node string, by User, _ string) (*fleet.Drain, error) {
		return nil, s.fleet.Forget(ctx, node, by.Name)
	}},
}

// orderRoutes are for each order a route for programs, a page that asks whether it is meant, and the answer to that page.
func (s *Server) orderRoutes() (all []route) {
	for _, one := range orders {
		all = append(all,
			route{Name: "api_node_" + one.Name, Method: http.MethodPost, Path: apiPrefix + "/nodes/{node}/" + one.Name, Kind: api, Role: one.Role,
				Handler: func(w http.ResponseWriter, r *http.Request) { s.apiOrder(w, r, one) }},
			route{Name: "page_node_" + one.Name, Method: http.MethodGet, Path: "/nodes/{node}/" + one.Name, Kind: page, Role: one.Role,
				Handler: func(w http.ResponseWriter, r *http.Request) { s.pageOrder(w, r, one) }},
			route{Name: "page_node_" + one.Name + "_confirmed", Method: http.MethodPost, Path: "/nodes/{node}/" + one.Name, Kind: page, Role: one.Role,
				Handler: func(w http.ResponseWriter, r *http.Request) { s.pageOrderConfirmed(w, r, one) }})
	}
	return all
}

func (s *Server) apiOrder(w http.ResponseWriter, r *http.Request, one order) {
	node, err := pathNode(r)
	if err == nil {
		_, err = parameters(r)
	}
	var asked NodeOrder
	if err == nil && r.ContentLength != 0 {
		err = readJSON(w, r, &asked)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	drain, err := s.give(r, one, node, asked.Reason)
	s.answer(w, r, NodeOrdered{Node: node, Drain: drain}, err)
}

// pathNode is the node that the path names.
func pathNode(r *http.Request) (string, error) {
	node, err := url.PathUnescape(mux.Vars(r)["node"])
	if err != nil {
		return "", fleet.Invalid("node", "not URL-encoded")
	}
	return node, nil
}

// give carries an order out and writes down that it was given, and what came of it. The error is a [fleet.Error].
func (s *Server) give(r *http.Request, one order, node, reason string) (*fleet.Drain, error) {
	if len(reason) > maxReason {
		return nil, fleet.Invalid("reason", "longer than %d bytes", maxReason)
	}
	drain, err := one.do(s, r.Context(), node, userFrom(r.Context()), reason)
	s.auditOutcome(r, Entry{Action: one.Action, Node: clip(node, 80), Query: reason}, err)
	return drain, err
}
