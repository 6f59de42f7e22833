package fleet

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestParseQuery(t *testing.T) {
	tests := map[string]struct {
		params string
		want   Query
	}{
		"nothing": {"", Query{}},
		"everything": {"view=bounced&since=2026-11-22T12:00:00Z&until=2026-11-23&sender=%20@example.org&recipient=bob&domain=x.example" +
			"&subject=two+words&message_id=%3C1@x%3E&queue_id=4FABC&client=192.0.2.1&user=app&status=deferred&relay=mx&carrier=mx2&tls=no&reason=User+unknown&signed=yes&hops=yes&before=7&limit=20",
			Query{View: ViewBounced, Since: noon.Add(-24 * time.Hour), Until: noon.Add(-12 * time.Hour), Sender: "@example.org",
				Recipient: "bob", Domain: "x.example", Subject: "two words", MessageID: "<1@x>", QueueID: "4FABC", Client: "192.0.2.1",
				User: "app", Status: StatusDeferred, Relay: "mx", Carrier: "mx2", TLS: TLSNo, Reason: "User unknown", Signed: "yes", Hops: HopsYes, Before: 7, Limit: 20}},
		"hours back":    {"since=24h", Query{Since: noon.Add(-24 * time.Hour)}},
		"days back":     {"since=7d", Query{Since: noon.Add(-7 * 24 * time.Hour)}},
		"a zone":        {"since=2026-11-23T13:00:00%2B01:00", Query{Since: noon}},
		"local control": {"since=2026-11-23T12:00", Query{Since: noon}},
		"null sender":   {"sender=%3C%3E", Query{Sender: NullSender}},
		"unknown":       {"page=3", Query{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			values, err := url.ParseQuery(test.params)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseQuery(values, noon)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseQueryNamesTheField(t *testing.T) {
	tests := map[string]string{ // parameters: field
		"view=every":                        "view",
		"status=lost":                       "status",
		"since=yesterday":                   "since",
		"since=-3h":                         "since",
		"since=99999d":                      "since",
		"since=12026-01-01":                 "since",
		"until=x":                           "until",
		"since=2026-11-23&until=2026-11-22": "until",
		"sender=ab":                         "sender",
		"recipient=%C3%BC%C3%BC":            "recipient",
		"subject=a+b+c":                     "subject",
		"subject=%FF%FE%FF":                 "subject",
		"relay=a%00b":                       "relay",
		"carrier=a%00b":                     "carrier",
		"tls=Yes":                           "tls",
		"reason=%FF":                        "reason",
		"client=" + strings.Repeat("x", maxText+1): "client",
		"before=-1":  "before",
		"before=x":   "before",
		"limit=0":    "limit",
		"limit=1001": "limit",
		"limit=ten":  "limit",
	}
	for params, field := range tests {
		t.Run(params[:min(len(params), 30)], func(t *testing.T) {
			values, err := url.ParseQuery(params)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ParseQuery(values, noon)
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeInvalid || e.Field != field {
				t.Errorf("got %#v, want the field %s", err, field)
			}
		})
	}
}

// FuzzParseQuery: whatever is in a URL is a query that says itself again, or an error about a field.
func FuzzParseQuery(f *testing.F) {
	f.Add("view=good&since=24h&sender=bob@example.org&limit=10")
	f.Add("before=18446744073709551615&status=%00")
	f.Add("since=2026-11-23T12:00:00.123456789Z&until=9999-12-31T23:59:59Z")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		q, err := ParseQuery(values, noon)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeInvalid || e.Field == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := ParseQuery(q.Values(), noon)
		if err != nil {
			t.Fatalf("%q is read, and %q is not: %v", text, q.Values().Encode(), err)
		}
		if diff := cmp.Diff(q, again); diff != "" {
			t.Fatalf("%q: read again (-first +second):\n%s", text, diff)
		}
		q.Match(&Message{Recipients: []Recipient{{Address: text}}, Subject: text, Sender: text})
	})
}
