package aggregator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// RelayChange asks for other settings: Index is that of the answer that the asker saw.
type RelayChange struct {
	Index string      `json:"index"`
	Relay fleet.Relay `json:"relay"`
}

// maxBody bounds what a program or a form may send. A thousand rules fit.
const maxBody = 1 << 20

func (s *Server) relayRoutes() []route {
	return []route{
		{Name: "api_relay", Method: http.MethodGet, Path: apiPrefix + "/relay", Kind: api, Role: accounts.Viewer, Handler: s.apiRelay},
		{Name: "api_relay_change", Method: http.MethodPost, Path: apiPrefix + "/relay", Kind: api, Role: accounts.Operator, Handler: s.apiRelayChange},
		{Name: "page_relay", Method: http.MethodGet, Path: "/relay", Kind: page, Role: accounts.Viewer, Handler: s.pageRelay},
		{Name: "page_relay_change", Method: http.MethodPost, Path: "/relay", Kind: page, Role: accounts.Operator, Handler: s.pageRelayChange},
	}
}

func (s *Server) apiRelay(w http.ResponseWriter, r *http.Request) {
	_, err := parameters(r)
	s.answer(w, r, s.relay(r), err)
}

// relay are the settings at this moment, and what the nodes do.
func (s *Server) relay(r *http.Request) RelayAnswer {
	settings := s.settings.Settings()
	if settings.Relay.Mode == "" {
		settings.Relay.Mode = fleet.RelayOff
	}
	return RelayAnswer{Index: strconv.FormatUint(settings.Index, 10), Settings: settings, ReadOnly: s.settings.ReadOnly(), Trouble: troubleOf(s.settings),
		Nodes: relayNodes(s.fleet.Nodes(r.Context()), &settings)}
}

func (s *Server) apiRelayChange(w http.ResponseWriter, r *http.Request) {
	var change RelayChange
	_, err := parameters(r)
	if err == nil {
		err = readJSON(w, r, &change)
	}
	if err == nil {
		err = s.changeRelay(r, change)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, r, s.relay(r), nil)
}

// changeRelay puts other settings in force, and writes down what was changed into what, or that it wasn't. The error is a
// [fleet.Error].
func (s *Server) changeRelay(r *http.Request, change RelayChange) error {
	index, err := strconv.ParseUint(change.Index, 10, 64)
	if err != nil {
		return fleet.Invalid("index", "expected the index of the settings that were read, not %q", clip(change.Index, 40))
	}
	before := s.settings.Settings()
	entry := Entry{Action: ActionRelay, Before: jsonText(before.Relay), After: jsonText(change.Relay)}
	after := before
	after.Index, after.Relay, after.ChangeBy = index, change.Relay, userFrom(r.Context()).Name
	switch err = after.Validate(); {
	case err != nil:
	case s.settings.ReadOnly() != "":
		err = fleet.Errorf(fleet.CodeUnsupported, "%s", s.settings.ReadOnly())
	default:
		err = s.settings.Put(r.Context(), after)
	}
	s.auditOutcome(r, entry, err)
	return err
}

// auditOutcome writes down what somebody changed, or why they couldn't.
func (s *Server) auditOutcome(r *http.Request, e Entry, err error) {
	if e.Note = "done"; err != nil {
		e.Note = "not done: " + publicMessage(err)
	}
	s.audit(r, e)
}

// jsonText is a value of ours as JSON.
func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// readJSON reads the body of a request, which holds one value and no field that isn't known: one with a typing error in
// its name would otherwise be left out in silence. The error is a [fleet.Error].
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return fleet.Errorf(fleet.CodeInvalid, "the body can't be read, or is larger than %d bytes", maxBody)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fleet.Errorf(fleet.CodeInvalid, "the body is not the JSON that is expected here: %s", clip(err.Error(), 200))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fleet.Errorf(fleet.CodeInvalid, "the body holds more than one JSON value")
	}
	return nil
}
