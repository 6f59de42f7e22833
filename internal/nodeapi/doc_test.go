package nodeapi

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// docs/node-api.md names every route and every parameter.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/node-api.md")
	if err != nil {
		t.Fatal(err)
	}
	has := func(what string) {
		if !strings.Contains(string(text), "`"+what+"`") {
			t.Errorf("docs/node-api.md doesn't name `%s`", what)
		}
	}
	for _, route := range []string{routeNode, routeHealth, routeMessages, routeMessage, routeTranscripts, routeStats, routeEvents, routeDrain, routeCarried,
		routeDiagnosis, routeTest, routePeer} {
		has(route)
	}
	query := fleet.Query{View: fleet.ViewAll, Since: noon, Until: noon.Add(time.Hour), Sender: "a", Recipient: "a", Domain: "a",
		Subject: "a", MessageID: "a", QueueID: "a", Client: "a", User: "a", Status: fleet.StatusQueued, Relay: "a", Carrier: "a", TLS: fleet.TLSYes, Reason: "a", Signed: "a", Node: "a", Hops: fleet.HopsYes,
		Before: 1, Limit: 1}
	if n := reflect.TypeFor[fleet.Query]().NumField(); len(query.Values()) != n {
		t.Errorf("the test names %d of %d parameters", len(query.Values()), n)
	}
	for name := range query.Values() {
		has(name)
	}
	for name := range (&fleet.StatsQuery{}).Values() {
		has(name)
	}
	for _, status := range fleet.Statuses {
		has(string(status))
	}
	for _, code := range []fleet.Code{fleet.CodeInvalid, fleet.CodeNotFound, fleet.CodeUnavailable, fleet.CodeUnsupported, fleet.CodeInternal} {
		has(string(code))
	}
}
