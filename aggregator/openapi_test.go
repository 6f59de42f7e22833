package aggregator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/advice"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// openAPI is as much of the description as the tests look at.
type openAPI struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Parameters map[string]parameter `json:"parameters"`
		Schemas    map[string]*schema   `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	ID         string           `json:"operationId"`
	Role       string           `json:"x-role"`
	Parameters []reference      `json:"parameters"`
	Responses  map[string]media `json:"responses"`
}

type reference struct {
	Ref string `json:"$ref"`
}

type parameter struct {
	Name        string  `json:"name"`
	In          string  `json:"in"`
	Description string  `json:"description"`
	Schema      *schema `json:"schema"`
}

type media struct {
	Content map[string]struct {
		Schema *schema `json:"schema"`
	} `json:"content"`
}

type schema struct {
	Ref        string             `json:"$ref"`
	Type       string             `json:"type"`
	Format     string             `json:"format"`
	Pattern    string             `json:"pattern"`
	Text       string             `json:"description"`
	Enum       []string           `json:"enum"`
	Items      *schema            `json:"items"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Additional *schema            `json:"additionalProperties"`
}

func described(t *testing.T) *openAPI {
	t.Helper()
	var doc openAPI
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

// parametersOf are the query parameters of an operation.
func (doc *openAPI) parametersOf(op operation) (names []string) {
	for _, ref := range op.Parameters {
		if p := doc.Components.Parameters[strings.TrimPrefix(ref.Ref, "#/components/parameters/")]; p.In == "query" {
			names = append(names, p.Name)
		}
	}
	return names
}

// schemaTypes are the Go types that the described schemas stand for.
var schemaTypes = map[string]reflect.Type{}

func init() {
	for _, value := range []any{Answer{}, fleet.Attempt{}, AuditAnswer{}, fleet.Carried{}, fleet.Change{}, fleet.Check{}, fleet.Client{},
		fleet.Destination{}, Entry{}, fleet.Error{}, FleetStats{}, fleet.Hop{}, Incomplete{}, fleet.Line{}, fleet.Link{}, List{}, fleet.LogState{},
		fleet.MailLimits{}, fleet.Member{}, fleet.Message{}, MessageAnswer{}, fleet.NodeInfo{}, NodeView{}, NodesAnswer{}, fleet.Queue{}, fleet.Recipient{},
		fleet.Recording{}, fleet.Refusal{}, fleet.Selector{}, fleet.Signature{}, fleet.Stats{}, fleet.Step{}, fleet.Traffic{},
		TraceAnswer{}, TraceSearch{}, TracedMail{}, TracedAdvice{}, advice.Advice{}, NearMiss{}, TracedNode{}, Journey{}, Branch{}, Handover{}, Leg{},
		fleet.Transcript{}, TranscriptsAnswer{}, fleet.Candidate{}, fleet.Drain{}, NodeOrder{}, NodeOrdered{}, fleet.Relay{}, RelayAnswer{},
		fleet.Part{}, fleet.Finding{}, fleet.Egress{}, fleet.Diagnosis{}, fleet.GradeChange{}, fleet.DiagnosisOutline{}, fleet.Diagnoses{}, NodeDiagnosis{},
		DiagnosisAnswer{}, DiagnosisWish{}, TestWish{}, fleet.TestMessage{}, NodeTest{}, TestsAnswer{},
		RelayChange{}, RelayNode{}, fleet.RelayRule{}, fleet.RelayState{}, fleet.Settings{}, fleet.DNSPlan{}, fleet.DNSRecord{},
		fleet.Key{}, KeyChange{}, fleet.KeyEvent{}, KeysAnswer{}, fleet.NodeKeys{}, NodeKeysView{}, fleet.RecordFinding{}, fleet.SPFPlan{},
		fleet.SendingAddress{}} {
		schemaTypes[reflect.TypeOf(value).Name()] = reflect.TypeOf(value)
	}
	schemaTypes["Failure"] = reflect.TypeFor[httperr.Body]()
}

func TestEveryRouteIsDescribed(t *testing.T) {
	ts := startServer(t)
	want, got := map[string]string{}, map[string]string{}
	for _, one := range ts.routes() {
		if path, ok := strings.CutPrefix(one.Path, apiPrefix); ok {
			want[strings.ToLower(one.Method)+" "+path] = one.Name + " " + one.Role.String()
		}
	}
	for path, operations := range described(t).Paths {
		for method, op := range operations {
			got[method+" "+path] = op.ID + " " + op.Role
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-) and description (+) differ:\n%s", diff)
	}
}

// Each described parameter is taken, with its example, and a parameter that isn't described is refused.
func TestEveryParameterIsDescribed(t *testing.T) {
	ts := startServer(t)
	doc := described(t)
	examples := map[string]string{"view": "queue", "since": "24h", "until": "2026-11-23T10:00:00Z", "sender": "<>", "recipient": "@example.com",
		"domain": "example.com", "subject": "hello", "message_id": "<a@b>", "queue_id": "4A", "client": "192.0.2.1", "user": "u",
		"status": "sent", "relay": "mx.example.com", "carrier": "b", "tls": "no", "reason": "User unknown", "signed": "yes", "node": "a", "hops": "only", "limit": "7", "cursor": "", "format": "csv", "as": "zone", "steps": "3"}
	examples["status"] = "deferred"
	client := ts.signedIn(accounts.Admin)
	for path, operations := range doc.Paths {
		op := operations["get"]
		if strings.HasSuffix(path, "/events") || op.ID == "" {
			continue // its parameters are those of the export, read by the same function; what takes POST has none
		}
		path = apiPrefix + strings.NewReplacer("{node}", "a", "{id}", "5").Replace(path)
		for _, name := range doc.parametersOf(op) {
			example, ok := examples[name]
			if !ok {
				t.Errorf("no example for %s", name)
			}
			values := url.Values{name: {example}}
			if op.ID == "api_trace" && name != "queue_id" { // which wants something to trace
				values.Set("queue_id", "4A")
			}
			if got := ts.get(client, path+"?"+values.Encode()); got.status != http.StatusOK {
				t.Errorf("%s?%s=%s: %d %s", path, name, example, got.status, got.body)
			}
			if got := ts.get(client, path+"?"+name+"=x&"+name+"=y"); got.status != http.StatusBadRequest {
				t.Errorf("%s twice: %d", name, got.status)
			}
		}
		if strings.HasSuffix(path, "openapi.json") {
			continue
		}
		for _, unknown := range []string{"sendr", "before"} {
			got := ts.get(client, path+"?"+unknown+"=1")
			if got.status != http.StatusBadRequest || httperr.Read(got.status, strings.NewReader(string(got.body))).Field != unknown {
				t.Errorf("%s?%s: %d %s", path, unknown, got.status, got.body)
			}
		}
	}
}

func TestEverySchemaFieldIsDescribed(t *testing.T) {
	doc := described(t)
	for name, one := range doc.Components.Schemas {
		if schemaTypes[name] == nil {
			t.Errorf("schema %s stands for no type", name)
			continue
		}
		compareType(t, name, schemaTypes[name], one)
	}
	for name := range schemaTypes {
		if doc.Components.Schemas[name] == nil {
			t.Errorf("type %s has no schema", name)
		}
	}
	statuses := doc.Components.Schemas["Recipient"].Properties["status"].Enum
	for _, status := range fleet.Statuses {
		if !slices.Contains(statuses, string(status)) {
			t.Errorf("status %s is not described", status)
		}
	}
}

// compareType holds a schema against a Go type: the same fields, those that are always there required, each of the same
// kind and with a description.
func compareType(t *testing.T, where string, of reflect.Type, s *schema) {
	t.Helper()
	fields := map[string]bool{}
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		fields[name] = true
		property := s.Properties[name]
		if property == nil || property.Text == "" {
			t.Errorf("%s.%s is not described", where, name)
			continue
		}
		if required := slices.Contains(s.Required, name); required != (options == "") {
			t.Errorf("%s.%s: required is %v", where, name, required)
		}
		compareKind(t, where+"."+name, field.Type, property)
	}
	for name := range s.Properties {
		if !fields[name] {
			t.Errorf("%s has no field %s", where, name)
		}
	}
}

func compareKind(t *testing.T, where string, of reflect.Type, s *schema) {
	t.Helper()
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	want := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Int64: "integer",
		reflect.Uint64: "integer", reflect.Float64: "number", reflect.Slice: "array", reflect.Map: "object"}[of.Kind()]
	switch of {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[fleet.MessageID](), reflect.TypeFor[fleet.EventID]():
		want = "string"
	}
	if want == "" {
		ref := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		if schemaTypes[ref] != of {
			t.Errorf("%s refers to %q, not to the schema of %v", where, ref, of)
		}
		return
	}
	if s.Type != want {
		t.Errorf("%s has type %q, not %q", where, s.Type, want)
	}
	switch want {
	case "array":
		compareKind(t, where+"[]", of.Elem(), s.Items)
	case "object":
		compareKind(t, where+"{}", of.Elem(), s.Additional)
	}
}

// check holds a JSON value against a schema; a property that isn't described is a fault.
func (doc *openAPI) check(where string, value any, s *schema) (faults []string) {
	if s.Ref != "" {
		return doc.check(where, value, doc.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")])
	}
	fault := func(format string, args ...any) {
		faults = append(faults, where+": "+fmt.Sprintf(format, args...))
	}
	switch value := value.(type) {
	case map[string]any:
		if s.Type != "object" {
			fault("an object, not %s", s.Type)
			return faults
		}
		for _, name := range s.Required {
			if _, there := value[name]; !there {
				fault("%s is missing", name)
			}
		}
		for name, inner := range value {
			property := s.Properties[name]
			if property == nil {
				property = s.Additional
			}
			if property == nil {
				fault("%s is not described", name)
				continue
			}
			faults = append(faults, doc.check(where+"."+name, inner, property)...)
		}
	case []any:
		if s.Type != "array" {
			fault("an array, not %s", s.Type)
			return faults
		}
		for i, inner := range value {
			faults = append(faults, doc.check(fmt.Sprintf("%s[%d]", where, i), inner, s.Items)...)
		}
	case string:
		if s.Type != "string" {
			fault("a string, not %s", s.Type)
		}
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
			fault("%q is none of %v", value, s.Enum)
		}
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(value) {
			fault("%q does not match %s", value, s.Pattern)
		}
		if _, err := time.Parse(time.RFC3339Nano, value); s.Format == "date-time" && err != nil {
			fault("%q is not a time", value)
		}
	case float64:
		if s.Type != "number" && (s.Type != "integer" || value != float64(int64(value))) {
			fault("a number, not %s", s.Type)
		}
	case bool:
		if s.Type != "boolean" {
			fault("a boolean, not %s", s.Type)
		}
	default:
		fault("null")
	}
	return faults
}
