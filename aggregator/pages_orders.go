package aggregator

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// orderPage asks whether an order to a node is meant. It works without JavaScript, and nothing happens before its button.
type orderPage struct {
	Order  string
	Node   string
	Link   string // where the button leads
	Back   string
	Card   nodeCard
	Reason string // why the node is to drain
	Error  string // why it was not done
}

// Titles of the orders.
var orderTitles = map[string]string{"drain": "Drain", "undrain": "Take mail again", "forget": "Forget"}

func (s *Server) pageOrder(w http.ResponseWriter, r *http.Request, one order) {
	view, err := s.orderPage(r, one)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.renderOrder(w, r, http.StatusOK, view)
}

func (s *Server) orderPage(r *http.Request, one order) (*orderPage, error) {
	node, err := pathNode(r)
	if err != nil {
		return nil, err
	}
	nodes := s.fleet.Nodes(r.Context())
	at := slices.IndexFunc(nodes, func(view NodeView) bool { return view.Member.Name == node })
	if at < 0 {
		return nil, fleet.Errorf(fleet.CodeNotFound, "no node %q in the fleet", clip(node, 80))
	}
	return &orderPage{Order: one.Name, Node: node, Link: orderLink(node, one.Name), Back: "/nodes#" + transcriptAnchor(node), Card: newNodeCard(nodes[at])}, nil
}

// nodeOrder is a link to a page that asks whether an order is meant.
type nodeOrder struct {
	order
	Title string
	Link  string
}

// checkDrain is the check by which a node says that it drains.
const checkDrain = "drain"

// drains tells whether a node takes no new mail on somebody's word.
func drains(info *fleet.NodeInfo) bool { return info.Draining || info.Drain != nil }

// nodeOrders are those that make sense for a node as it is: one that answers isn't forgotten, one that doesn't can't be told.
func nodeOrders(card *nodeCard) (all []nodeOrder) {
	for _, one := range orders {
		fits := one.Name == "forget" && card.Info == nil
		if card.Info != nil {
			fits = one.Name == "drain" && !drains(card.Info) || one.Name == "undrain" && drains(card.Info)
		}
		if fits {
			all = append(all, nodeOrder{one, orderTitles[one.Name], orderLink(card.Member.Name, one.Name)})
		}
	}
	return all
}

// allowed are the orders that a role may give.
func allowed(all []nodeOrder, role accounts.Role) []nodeOrder {
	return slices.DeleteFunc(all, func(one nodeOrder) bool { return !role.May(one.Role) })
}

func orderLink(node, order string) string { return "/nodes/" + url.PathEscape(node) + "/" + order }

func (s *Server) renderOrder(w http.ResponseWriter, r *http.Request, status int, view *orderPage) {
	s.render(w, r, status, "order", orderTitles[view.Order]+" "+plain(view.Node), view)
}

// pageOrderConfirmed carries the order out and leads back to the node, or shows why it wasn't.
func (s *Server) pageOrderConfirmed(w http.ResponseWriter, r *http.Request, one order) {
	if !s.readForm(w, r, maxBody) {
		return
	}
	view, err := s.orderPage(r, one)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	view.Reason = r.PostForm.Get("reason")
	if _, err := s.give(r, one, view.Node, view.Reason); err != nil {
		public := httperr.Public(err)
		view.Error = public.Message
		s.renderOrder(w, r, httperr.Status(public.Code), view)
		return
	}
	http.Redirect(w, r, view.Back, http.StatusSeeOther)
}

// drainWords say how far a node is.
func drainWords(d *fleet.Drain) string {
	switch {
	case d.Safe:
		return "Safe to reboot."
	case d.Left < 0:
		return "Draining; the queue can't be counted."
	case d.Left == 0 && d.Open > 0:
		return plural(int(d.Open), "session", "sessions") + " still open."
	}
	return countWords(d.Left) + " left."
}

func drainIcon(d *fleet.Drain) string {
	if d.Safe {
		return "delivered"
	}
	return "held"
}
