package aggregator

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// ActionKeys is an order about DKIM keys.
const ActionKeys Action = "dkim_keys"

// DNSPlanner knows which DNS records a fleet needs.
type DNSPlanner interface {
	Plan(ctx context.Context, needs *fleet.DNSNeeds) *fleet.DNSPlan
	// Format writes a plan as text, zone, json or nsupdate. Another form is a [fleet.Error].
	Format(plan *fleet.DNSPlan, format string) (string, error)
}

// planWait bounds how long a plan may take: what DNS hasn't told by then could not be told.
const planWait = 20 * time.Second

// KeyChange is what somebody wants done with keys.
type KeyChange struct {
	Verb     fleet.KeyVerb `json:"verb"`
	Domain   string        `json:"domain,omitempty"`
	Selector string        `json:"selector,omitempty"`
	Force    bool          `json:"force,omitempty"`
}

func (s *Server) keyRoutes() []route {
	return []route{
		{Name: "api_keys", Method: http.MethodGet, Path: apiPrefix + "/keys", Kind: api, Role: accounts.Viewer, Handler: s.apiKeys},
		{Name: "api_keys_order", Method: http.MethodPost, Path: apiPrefix + "/keys/{node}", Kind: api, Role: accounts.Operator,
			Handler: s.apiKeysOrder},
		{Name: "api_dns", Method: http.MethodGet, Path: apiPrefix + "/dns", Kind: api, Role: accounts.Viewer, Handler: s.apiDNS},
		{Name: "page_keys", Method: http.MethodGet, Path: "/keys", Kind: page, Role: accounts.Viewer, Handler: s.pageKeys},
		{Name: "page_keys_ask", Method: http.MethodGet, Path: "/keys/order", Kind: page, Role: accounts.Operator, Handler: s.pageKeysAsk},
		{Name: "page_keys_order", Method: http.MethodPost, Path: "/keys", Kind: page, Role: accounts.Operator, Handler: s.pageKeysOrder},
		{Name: "page_dns", Method: http.MethodGet, Path: "/dns", Kind: page, Role: accounts.Viewer, Handler: s.pageDNS},
		{Name: "page_dns_file", Method: http.MethodGet, Path: "/dns/file", Kind: page, Role: accounts.Viewer, Handler: s.pageDNSFile},
	}
}

func (s *Server) apiKeys(w http.ResponseWriter, r *http.Request) {
	_, err := parameters(r)
	s.answer(w, r, s.keys(r.Context()), err)
}

func (s *Server) keys(ctx context.Context) KeysAnswer {
	views := s.fleet.Keys(ctx)
	return KeysAnswer{Nodes: views, Clashes: clashes(views)}
}

func (s *Server) apiKeysOrder(w http.ResponseWriter, r *http.Request) {
	node, err := pathNode(r)
	var change KeyChange
	if err == nil {
		_, err = parameters(r)
	}
	if err == nil {
		err = readJSON(w, r, &change)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	keys, err := s.orderKeys(r, node, change)
	s.answer(w, r, NodeKeysView{Answer: Answer{Node: node}, Keys: keys}, err)
}

// keyVerbs are what people may order; what aggregators tell nodes isn't among them.
var keyVerbs = []fleet.KeyVerb{fleet.KeyRotate, fleet.KeyActivate, fleet.KeyRetire, fleet.KeyCheck}

// orderKeys has a node do something about its keys, and writes down who wanted it. Doing it against what DNS says takes an
// admin.
func (s *Server) orderKeys(r *http.Request, node string, change KeyChange) (keys *fleet.NodeKeys, err error) {
	user := userFrom(r.Context())
	switch {
	case !slices.Contains(keyVerbs, change.Verb):
		err = fleet.Invalid("verb", "expected rotate, activate, retire or check, not %q", clip(string(change.Verb), 40))
	case change.Force && !user.Role.May(accounts.Admin):
		err = fleet.Errorf(fleet.CodeForbidden, "forcing needs the role admin")
	default:
		keys, err = s.fleet.OrderKeys(r.Context(), node, fleet.KeyOrder{Verb: change.Verb, Domain: change.Domain, Selector: change.Selector,
			Force: change.Force, By: user.Name})
	}
	words := []string{string(change.Verb), change.Domain, change.Selector}
	if change.Force {
		words = append(words, "by force")
	}
	s.auditOutcome(r, Entry{Action: ActionKeys, Node: clip(node, 80), Query: clip(strings.Join(words, " "), 400)}, err)
	return keys, err
}

func (s *Server) apiDNS(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, "as")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if format := values.Get("as"); format != "" && format != "json" {
		s.dnsText(w, r, format, "")
		return
	}
	plan, err := s.plan(r.Context())
	s.answer(w, r, plan, err)
}

// dnsText writes the records of the fleet in one of the forms of [DNSPlanner]; with a name, as a file to take along.
func (s *Server) dnsText(w http.ResponseWriter, r *http.Request, format, name string) {
	plan, err := s.plan(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	text, err := s.dns.Format(plan, format)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if name != "" {
		w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the asker may be gone; nobody else to tell
}

// plan is every record that the fleet needs, from what the nodes say that answer. All who ask at the same time get one
// answer: somebody who loads the page without end must not become a flood of questions to DNS.
func (s *Server) plan(ctx context.Context) (*fleet.DNSPlan, error) {
	if s.dns == nil {
		return nil, fleet.Errorf(fleet.CodeUnsupported, "this aggregator asks no DNS")
	}
	result := s.planning.DoChan("", func() (any, error) {
		all, cancel := context.WithTimeout(context.WithoutCancel(ctx), planWait) // who asked first may go, the others wait on
		defer cancel()
		return s.makePlan(all), nil
	})
	select {
	case made := <-result:
		plan, _ := made.Val.(*fleet.DNSPlan)
		return plan, made.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) makePlan(ctx context.Context) *fleet.DNSPlan {
	views := make(chan []NodeKeysView, 1)
	go func() { views <- s.fleet.Keys(ctx) }()
	nodes := s.fleet.Nodes(ctx)
	needs := dnsNeeds(nodes, <-views)
	return s.dns.Plan(ctx, needs)
}

// dnsNeeds is what the nodes need. One that doesn't answer is named: without it the plan isn't whole.
func dnsNeeds(nodes []NodeView, keys []NodeKeysView) *fleet.DNSNeeds {
	needs := &fleet.DNSNeeds{}
	for _, view := range keys {
		if view.Keys == nil {
			needs.Problems = append(needs.Problems, "the keys of "+view.Answer.Node+" are missing: "+view.Answer.Error)
			continue
		}
		needs.Keys = append(needs.Keys, view.Keys.Keys...)
	}
	for _, node := range nodes {
		if node.Info == nil {
			needs.Problems = append(needs.Problems, "the addresses of "+node.Member.Name+" are missing: "+node.Answer.Error)
			continue
		}
		hostname := node.Info.Hostname
		if !plainName(hostname) {
			hostname = "" // as for keys: see wholeKeys
		}
		addresses := node.Info.Addresses
		for _, learned := range node.Info.Egress { // behind NAT only a diagnosis knows
			if learned.Unsure && !slices.Contains(addresses, learned.Address) { // a stranger chose it, and SPF would let it send
				needs.Problems = append(needs.Problems, node.Member.Name+" may send from "+learned.Address+", which one remote server alone says ("+
					learned.From+"): if it is right, set node.addresses in its milter.yaml")
				continue
			}
			addresses = append(slices.Clip(addresses), learned.Address)
		}
		for _, address := range addresses {
			needs.Egress = append(needs.Egress, fleet.SendingAddress{Node: node.Member.Name, Address: address, Hostname: hostname})
		}
	}
	return needs
}
