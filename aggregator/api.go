package aggregator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// MessageAnswer is one message with the answer of its node.
type MessageAnswer struct {
	Message *fleet.Message `json:"message"`
	Answer  Answer         `json:"answer"`
}

// TranscriptsAnswer are the conversations of one message, with the answer of its node.
type TranscriptsAnswer struct {
	Transcripts []fleet.Transcript `json:"transcripts"`
	Answer      Answer             `json:"answer"`
}

// NodesAnswer are all nodes.
type NodesAnswer struct {
	Nodes         []NodeView `json:"nodes"`
	DiscoveryAway string     `json:"discovery_away,omitempty"` // why discovery doesn't answer; the nodes are those known last
}

// apiRoutes are the JSON API. openapi.json describes each of them; a test compares.
func (s *Server) apiRoutes() []route {
	get := func(name, path string, kind routeKind, role accounts.Role, audit Action, handler http.HandlerFunc) route {
		return route{Name: name, Method: http.MethodGet, Path: path, Kind: kind, Role: role, Audit: audit, Handler: handler}
	}
	return []route{
		get("api_messages", apiPrefix+"/messages", api, accounts.Viewer, ActionMessages, s.apiMessages),
		get("api_message", apiPrefix+"/messages/{node}/{id}", api, accounts.Viewer, ActionMessage, s.apiMessage),
		get("api_transcripts", apiPrefix+"/messages/{node}/{id}/transcripts", api, accounts.Viewer, ActionTranscript, s.apiTranscripts),
		get("api_trace", apiPrefix+"/trace", api, accounts.Viewer, ActionMessages, s.apiTrace),
		get("api_stats", apiPrefix+"/stats", api, accounts.Viewer, "", s.apiStats),
		get("api_nodes", apiPrefix+"/nodes", api, accounts.Viewer, "", s.apiNodes),
		get("api_events", apiPrefix+"/events", stream, accounts.Viewer, ActionLive, s.apiEvents),
		get("api_export", apiPrefix+"/export", stream, accounts.Viewer, ActionExport, s.apiExport),
		get("api_audit", apiPrefix+"/audit", api, accounts.Admin, "", s.apiAudit),
		get("api_openapi", apiPrefix+"/openapi.json", api, accounts.Viewer, "", s.apiDescription),
		get("export_csv", "/messages.csv", stream, accounts.Viewer, ActionExport, s.exportCSV),
		get("export_json", "/messages.json", stream, accounts.Viewer, ActionExport, s.exportJSON),
	}
}

// filters are the parameters of [fleet.ParseQuery] but its own cursor: here a cursor goes across nodes.
var filters = []string{"view", "since", "until", "sender", "recipient", "domain", "subject", "message_id", "queue_id", "client", "user",
	"status", "relay", "carrier", "tls", "reason", "signed", "node", "hops"}

// parameters reads the request's parameters. One that isn't known, or is there twice, is refused: a filter with a typing
// error in its name would otherwise answer everything.
func parameters(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fleet.Invalid("query", "the parameters are not URL-encoded")
	}
	for name, all := range values {
		if !slices.Contains(known, name) {
			return nil, fleet.Invalid(clip(name, 40), "no such parameter: expected %s", strings.Join(known, ", "))
		}
		if len(all) > 1 {
			return nil, fleet.Invalid(name, "given more than once")
		}
	}
	return values, nil
}

// messageQuery reads the filters and whatever further parameters the route knows.
func (s *Server) messageQuery(r *http.Request, further ...string) (fleet.Query, url.Values, error) {
	values, err := parameters(r, slices.Concat(filters, further)...)
	if err != nil {
		return fleet.Query{}, nil, err
	}
	q, err := fleet.ParseQuery(values, s.clock())
	return q, values, err
}

func (s *Server) apiMessages(w http.ResponseWriter, r *http.Request) {
	q, values, err := s.messageQuery(r, "limit", "cursor")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	list, err := s.fleet.Messages(r.Context(), q, values.Get("cursor"))
	if err == nil {
		err = nobodyAnswered(list.Nodes)
	}
	s.answer(w, r, list, err)
}

// nobodyAnswered is an error when every node failed and nothing is remembered of any, or there is none: an empty answer
// would look like no mail.
func nobodyAnswered(answers []Answer) error {
	bad := slices.DeleteFunc(failed(answers), func(a Answer) bool { return !a.AsOf.IsZero() })
	if len(bad) < len(answers) {
		return nil
	}
	if len(answers) == 0 {
		return fleet.Errorf(fleet.CodeUnavailable, "no node is known")
	}
	reasons := make([]string, len(bad))
	for i, a := range bad {
		reasons[i] = a.Node + ": " + a.Error
	}
	return fleet.Errorf(fleet.CodeUnavailable, "no node answered: %s", clip(strings.Join(reasons, "; "), 2000))
}

// pathMessage reads which message the path names; there are no parameters besides.
func pathMessage(r *http.Request) (node string, id fleet.MessageID, err error) {
	if _, err := parameters(r); err != nil {
		return "", 0, err
	}
	path := mux.Vars(r)
	if node, err = url.PathUnescape(path["node"]); err != nil {
		return "", 0, fleet.Invalid("node", "not URL-encoded")
	}
	id, err = fleet.ParseMessageID(path["id"])
	return node, id, err
}

func (s *Server) apiMessage(w http.ResponseWriter, r *http.Request) {
	node, id, err := pathMessage(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	message, answer, err := s.fleet.Message(r.Context(), node, id)
	s.answer(w, r, MessageAnswer{message, answer}, err)
}

func (s *Server) apiTranscripts(w http.ResponseWriter, r *http.Request) {
	node, id, err := pathMessage(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	transcripts, answer, err := s.fleet.Transcripts(r.Context(), node, id)
	s.answer(w, r, TranscriptsAnswer{transcripts, answer}, err)
}

func (s *Server) apiStats(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, "since", "until", "steps")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q, err := fleet.ParseStatsQuery(values, s.clock())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	stats, err := s.fleet.Stats(r.Context(), q)
	if err == nil {
		err = nobodyAnswered(stats.Nodes)
	}
	s.answer(w, r, stats, err)
}

func (s *Server) apiNodes(w http.ResponseWriter, r *http.Request) {
	_, err := parameters(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, r, NodesAnswer{Nodes: s.fleet.Nodes(r.Context()), DiscoveryAway: s.fleet.DiscoveryAway()}, nil)
}

// Gap is the data of an event that says that changes of a node were missed.
type Gap struct {
	Node string `json:"node"`
}

// apiEvents streams the changes that match the filters: events named "change" with a [fleet.Change] as JSON, and events
// named "gap" with a [Gap].
func (s *Server) apiEvents(w http.ResponseWriter, r *http.Request) {
	q, _, err := s.messageQuery(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.streamEvents(w, r, s.fleet.Subscribe(r.Context(), q), func(change *fleet.Change) event {
		name, value := "change", any(change)
		if change.Gap != "" {
			name, value = "gap", Gap{change.Gap}
		}
		data, err := json.Marshal(value)
		if err != nil {
			return event{}
		}
		return event{name: name, data: data}
	})
}

// answer is value as JSON, or the error.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, value any, err error) {
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, value)
}

// writeJSON answers with a JSON value.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the peer may be gone; nobody else to tell
}
