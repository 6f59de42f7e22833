package aggregator_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// A filter of every kind comes back in its field, as a chip, and in every link of the list.
func TestFiltersStayInTheAddress(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	all := fleet.Query{View: fleet.ViewQueue, Sender: "a@b.example", Recipient: "c&d=e@f.example", Domain: "f.example", Subject: "two words",
		MessageID: "<x+y@z>", QueueID: "4F1a", Client: "10.0.0.1", User: "us er", Status: fleet.StatusDeferred, Relay: "mx.example", Carrier: "mx2",
		TLS: fleet.TLSNo, Reason: `mailbox "full" & gone; <try> + 50 % later`, Signed: "yes", Node: "mx1", Since: time.Now().Add(-time.Hour), Until: time.Now()}
	values := all.Values()
	doc := v.page("/messages?"+values.Encode(), http.StatusOK)
	fields := map[string]string{}
	for _, n := range find(doc, func(n *html.Node) bool { return n.Data == "input" || n.Data == "select" }) {
		fields[attr(n, "name")] = attr(n, "value")
		for _, option := range find(n, element("option")) {
			if slices.ContainsFunc(option.Attr, func(a html.Attribute) bool { return a.Key == "selected" }) {
				fields[attr(n, "name")] = attr(option, "value")
			}
		}
	}
	for name := range values {
		if fields[name] != values.Get(name) {
			t.Errorf("the field %s says %q, want %q", name, fields[name], values.Get(name))
		}
	}
	chips := find(doc, func(n *html.Node) bool { return n.Data == "a" && attr(n, "class") == "chip" })
	if len(chips) != len(values)-1 { // view is a tab
		t.Errorf("%d chips for %d filters", len(chips), len(values)-1)
	}
	for _, one := range chips {
		without, err := url.Parse(attr(one, "href"))
		if err != nil || len(without.Query()) != len(values)-1 {
			t.Errorf("the chip %q leads to %s", text(one), attr(one, "href"))
		}
	}
	for _, n := range find(doc, func(n *html.Node) bool {
		return attr(n, "download") != "" || strings.Contains(attr(n, "href"), "/messages.")
	}) {
		if link, err := url.Parse(attr(n, "href")); err != nil || link.Query().Encode() != values.Encode() {
			t.Errorf("the export %s lost a filter", attr(n, "href"))
		}
	}
	live := find(doc, func(n *html.Node) bool { return attr(n, "id") == "live" })
	if link, err := url.Parse(attr(live[0], "data-src")); err != nil || link.Query().Encode() != values.Encode() {
		t.Errorf("the live rows %s lost a filter", attr(live[0], "data-src"))
	}
}

// An HTML form sends every field; the address keeps those that say something.
func TestEmptyFiltersLeaveTheAddress(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	answer, err := v.client.Get(v.site.URL + "/messages?sender=&recipient=abc&status=&since=")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got := answer.Request.URL.RequestURI(); got != "/messages?recipient=abc" {
		t.Errorf("the address became %s", got)
	}
}

func TestWrongFilterIsNamedWhereItWasTyped(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	for field, value := range map[string]string{"since": "yesterday", "recipient": "ab", "status": "gone", "tls": "maybe", "subject": "a b", "until": "x"} {
		doc := v.page("/messages?"+url.Values{field: {value}}.Encode(), http.StatusBadRequest)
		wrong := find(doc, func(n *html.Node) bool { return attr(n, "aria-invalid") == "true" })
		if len(wrong) != 1 || attr(wrong[0], "name") != field {
			t.Errorf("%s=%s: %d fields are marked", field, value, len(wrong))
			continue
		}
		why := find(doc, func(n *html.Node) bool { return attr(n, "id") == attr(wrong[0], "aria-describedby") })
		if len(why) != 1 || text(why[0]) == "" {
			t.Errorf("%s=%s: nothing says why", field, value)
		}
	}
	for _, query := range []string{"cursor=nonsense", "view=odd", "colour=red", "limit=0"} {
		doc := v.page("/messages?"+query, http.StatusBadRequest)
		alerts := find(doc, func(n *html.Node) bool { return attr(n, "role") == "alert" })
		name, _, _ := strings.Cut(query, "=")
		if len(alerts) != 1 || !strings.Contains(text(alerts[0]), name) {
			t.Errorf("%s: the page doesn't name it", query)
		}
	}
	for _, path := range []string{"/messages/mx1/none", "/messages/mx1/-4", "/?range=2y"} {
		if doc := v.page(path, http.StatusBadRequest); !strings.Contains(text(doc), "expected") {
			t.Errorf("%s: the page doesn't say what was expected", path)
		}
	}
	v.page("/messages/mx1/12345", http.StatusNotFound)
	v.page("/messages/nobody/12345", http.StatusNotFound)
	v.page("/nothing", http.StatusNotFound)
}
