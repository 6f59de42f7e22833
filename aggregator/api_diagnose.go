package aggregator

import (
	"net/http"
	"strings"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// DiagnosisAnswer is what the nodes found.
type DiagnosisAnswer struct {
	Nodes []NodeDiagnosis `json:"nodes"`
}

// DiagnosisWish asks for a new diagnosis.
type DiagnosisWish struct {
	Node   string   `json:"node,omitempty"`   // empty: all
	Checks []string `json:"checks,omitempty"` // empty: all
}

// TestWish asks for a test message.
type TestWish struct {
	Node string `json:"node,omitempty"` // empty: one from each
	To   string `json:"to"`
	From string `json:"from,omitempty"` // empty: each node's own
}

// TestsAnswer are the test messages that were sent.
type TestsAnswer struct {
	Messages []NodeTest `json:"messages"`
}

// diagnoseRoutes are the diagnostics, as pages and as JSON API.
func (s *Server) diagnoseRoutes() []route {
	return []route{
		{Name: "api_diagnosis", Method: http.MethodGet, Path: apiPrefix + "/diagnosis", Kind: api, Role: accounts.Viewer, Handler: s.apiDiagnosis},
		{Name: "api_diagnose", Method: http.MethodPost, Path: apiPrefix + "/diagnosis", Kind: api, Role: accounts.Operator, Handler: s.apiDiagnose},
		{Name: "api_test_message", Method: http.MethodPost, Path: apiPrefix + "/test-messages", Kind: api, Role: accounts.Operator, Handler: s.apiTest},
		{Name: "page_diagnostics", Method: http.MethodGet, Path: "/diagnostics", Kind: page, Role: accounts.Viewer, Handler: s.pageDiagnostics},
		{Name: "page_diagnose", Method: http.MethodPost, Path: "/diagnostics", Kind: page, Role: accounts.Operator, Handler: s.pageDiagnose},
		{Name: "page_diagnosis", Method: http.MethodGet, Path: "/diagnostics/nodes/{node}", Kind: page, Role: accounts.Viewer, Handler: s.pageDiagnosis},
		{Name: "page_finding", Method: http.MethodGet, Path: "/diagnostics/nodes/{node}/{check}", Kind: page, Role: accounts.Viewer, Handler: s.pageFinding},
		{Name: "page_test", Method: http.MethodGet, Path: "/diagnostics/test", Kind: page, Role: accounts.Operator, Handler: s.pageTest},
		{Name: "page_test_sent", Method: http.MethodPost, Path: "/diagnostics/test", Kind: page, Role: accounts.Operator, Handler: s.pageTestSent},
	}
}

// diagnosing is the fleet as far as it can be diagnosed.
func (s *Server) diagnosing() (Diagnosing, error) {
	if d, ok := s.fleet.(Diagnosing); ok {
		return d, nil
	}
	return nil, fleet.Errorf(fleet.CodeUnsupported, "this fleet can't be diagnosed from here")
}

func (s *Server) apiDiagnosis(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, "node")
	var d Diagnosing
	if err == nil {
		d, err = s.diagnosing()
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, r, DiagnosisAnswer{Nodes: d.Diagnoses(r.Context(), values.Get("node"))}, nil)
}

func (s *Server) apiDiagnose(w http.ResponseWriter, r *http.Request) {
	_, err := parameters(r)
	var wish DiagnosisWish
	if err == nil && r.ContentLength != 0 {
		err = readJSON(w, r, &wish)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	nodes, err := s.diagnose(r, wish)
	s.answer(w, r, DiagnosisAnswer{Nodes: nodes}, err)
}

// diagnose has nodes look, and writes down who wanted it.
func (s *Server) diagnose(r *http.Request, wish DiagnosisWish) ([]NodeDiagnosis, error) {
	d, err := s.diagnosing()
	if err != nil {
		return nil, err
	}
	if len(wish.Checks) > mostChecks {
		return nil, fleet.Invalid("checks", "more than %d", mostChecks)
	}
	nodes := d.Diagnose(r.Context(), wish.Node, wish.Checks, userFrom(r.Context()).Name)
	failed := notBegun(nodes)
	if len(failed) == len(nodes) {
		err = nobodyDid(failed)
	}
	s.auditOutcome(r, Entry{Action: ActionDiagnose, Node: clip(wish.Node, 80), Query: clip(jsonText(wish.Checks), 400)}, err)
	return nodes, err
}

// notBegun are the nodes that don't look although they were told to, each with its reason.
func notBegun(nodes []NodeDiagnosis) (failed []string) {
	for _, n := range nodes {
		if n.Error != "" {
			failed = append(failed, n.Node+": "+n.Error)
		}
	}
	return failed
}

// nobodyDid is the error of an order that no node carried out.
func nobodyDid(failed []string) error {
	if len(failed) == 0 {
		return fleet.Errorf(fleet.CodeUnavailable, "no node is known")
	}
	return fleet.Errorf(fleet.CodeUnavailable, "node %s", clip(strings.Join(failed, "; node "), 2000))
}

// mostChecks is more than there are.
const mostChecks = 100

func (s *Server) apiTest(w http.ResponseWriter, r *http.Request) {
	_, err := parameters(r)
	var wish TestWish
	if err == nil {
		err = readJSON(w, r, &wish)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	sent, err := s.sendTest(r, wish)
	s.answer(w, r, TestsAnswer{Messages: sent}, err)
}

// sendTest has nodes send a test message, and writes down who wanted it and to whom.
func (s *Server) sendTest(r *http.Request, wish TestWish) ([]NodeTest, error) {
	d, err := s.diagnosing()
	if err != nil {
		return nil, err
	}
	if fleet.AddressDomain(wish.To) == "" {
		return nil, fleet.Invalid("to", "%.80q is not an address", wish.To)
	}
	sent := d.SendTest(r.Context(), wish.Node, fleet.TestRequest{To: wish.To, From: wish.From, By: userFrom(r.Context()).Name})
	var failed []string
	for _, one := range sent {
		if one.Message == nil {
			failed = append(failed, one.Node+": "+one.Error)
		}
	}
	if len(failed) == len(sent) {
		err = nobodyDid(failed)
	}
	s.auditOutcome(r, Entry{Action: ActionTest, Node: clip(wish.Node, 80), Query: clip("to "+wish.To+" from "+wish.From, 400)}, err)
	return sent, err
}
