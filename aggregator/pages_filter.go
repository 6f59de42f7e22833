package aggregator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// field is one filter of the message list: a parameter of [fleet.Query] with its place in the form.
type field struct {
	Name    string
	Label   string
	Hint    string // placeholder: what can be asked
	Main    bool   // in the row that is always there; the others are behind "More filters"
	Wide    bool   // as wide as two
	Choices []choice
	Value   string
	Error   string
}

type choice struct {
	Value, Text string
	Selected    bool
}

// filterFields are all filters, in the order of the form. view is a tab; before and limit page.
func filterFields() []field {
	return []field{
		{Name: "sender", Label: "Sender", Hint: "user@domain, @domain, part, <>", Main: true},
		{Name: "recipient", Label: "Recipient", Hint: "user@domain, @domain or part", Main: true},
		{Name: "subject", Label: "Subject", Hint: "words", Main: true},
		{Name: "domain", Label: "Recipient domain", Hint: "example.org"},
		{Name: "status", Label: "Recipient status", Choices: statusChoices()},
		{Name: "relay", Label: "Relay", Hint: "host or IP address tried"},
		{Name: "carrier", Label: "Carried by", Hint: "node, or * for any other"},
		{Name: "tls", Label: "Sent with TLS", Choices: []choice{{Text: "any"}, {Value: fleet.TLSYes, Text: "yes"}, {Value: fleet.TLSNo, Text: "no, in clear"}}},
		{Name: "reason", Label: "Refused because", Hint: "in the words of the overview", Wide: true},
		{Name: "client", Label: "Client", Hint: "IP address, host or domain"},
		{Name: "user", Label: "User", Hint: "name that signed in to send"},
		{Name: "signed", Label: "DKIM signed", Hint: "yes, no or a domain"},
		{Name: "queue_id", Label: "Queue id", Hint: "exactly, case included"},
		{Name: "message_id", Label: "Message-ID", Hint: "exactly"},
		{Name: "node", Label: "Node", Hint: "name"},
		{Name: "hops", Label: "Hops", Choices: []choice{{Text: "left out"}, {Value: fleet.HopsYes, Text: "with the mail"}, {Value: fleet.HopsOnly, Text: "hops alone"}}},
		{Name: "since", Label: "Since", Hint: "24h, 7d, 2026-11-23T10:00"},
		{Name: "until", Label: "Until", Hint: "1h, 2026-11-23T18:00"},
	}
}

func statusChoices() []choice {
	all := []choice{{Value: "", Text: "any"}}
	for _, status := range fleet.Statuses {
		all = append(all, choice{Value: string(status), Text: strings.ToLower(statusMark(status).Text)})
	}
	return all
}

// filterForm is the form above the list, filled from a request.
type filterForm struct {
	Fields []field
	View   string
	Chips  []chip
	More   bool // a filter behind "More filters" is set or wrong: show them
	Error  string
	values url.Values
}

// chip is one filter that is on, shortened, with the address of the list without it.
type chip struct{ Label, Value, Without string }

// chipLength is where a filter is cut; the field has all of it.
const chipLength = 48

// newFilterForm reads the filters as they came, valid or not, so that a wrong one can be shown where it was typed.
func newFilterForm(values url.Values) filterForm {
	form := filterForm{Fields: filterFields(), View: values.Get("view"), values: url.Values{}}
	if form.View != "" {
		form.values.Set("view", form.View)
	}
	for i := range form.Fields {
		f := &form.Fields[i]
		f.Value = strings.TrimSpace(values.Get(f.Name))
		for j := range f.Choices {
			f.Choices[j].Selected = f.Choices[j].Value == f.Value
		}
		if f.Value != "" {
			form.values.Set(f.Name, f.Value)
			quick := f.Name == "since" && isQuick(f.Value) && values.Get("until") == "" || f.Name == "hops" // has a switch of its own
			form.More = form.More || !f.Main && !quick
		}
	}
	if limit := values.Get("limit"); limit != "" {
		form.values.Set("limit", limit)
	}
	for _, f := range form.Fields {
		if f.Value != "" {
			form.Chips = append(form.Chips, chip{f.Label, clip(f.Value, chipLength), form.link(f.Name, "")})
		}
	}
	return form
}

// fail shows an error beside the field that it names, or above the form.
func (f *filterForm) fail(err *fleet.Error) {
	for i := range f.Fields {
		if f.Fields[i].Name == err.Field {
			f.Fields[i].Error = err.Message
			f.More = f.More || !f.Fields[i].Main
			return
		}
	}
	f.Error = err.Error()
}

// link is the list with one parameter changed, or taken away when value is empty, from its first page.
func (f *filterForm) link(name, value string) string {
	values := url.Values{}
	for key, all := range f.values {
		values[key] = all
	}
	if value == "" {
		values.Del(name)
	} else {
		values.Set(name, value)
	}
	return messagesLink(values)
}

func messagesLink(values url.Values) string { return withQuery("/messages", values) }

func withQuery(path string, values url.Values) string {
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// tab is a view, a quick range or a node to choose from.
type tab struct {
	Text, Link string
	Current    bool
}

var viewNames = map[fleet.View]string{fleet.ViewGood: "All good", fleet.ViewQueue: "In queue", fleet.ViewBounced: "Bounced",
	fleet.ViewRejected: "Rejected", fleet.ViewAll: "All"}

func (f *filterForm) tabs() []tab {
	var tabs []tab
	for _, view := range fleet.Views {
		one := tab{Text: viewNames[view], Link: f.link("view", string(view)), Current: f.View == string(view)}
		if view == fleet.ViewAll {
			one.Link, one.Current = f.link("view", ""), one.Current || f.View == ""
		}
		tabs = append(tabs, one)
	}
	return tabs
}

var quickSpans = []struct{ value, text string }{{"1h", "1 h"}, {"24h", "24 h"}, {"7d", "7 d"}, {"30d", "30 d"}, {"", "Any time"}}

func isQuick(since string) bool {
	return slices.ContainsFunc(quickSpans, func(span struct{ value, text string }) bool { return span.value == since })
}

// quickRanges are spans that count back from now; a link stays true as long as it is open.
func (f *filterForm) quickRanges() []tab {
	var tabs []tab
	since, until := f.values.Get("since"), f.values.Get("until")
	plainForm := filterForm{values: url.Values{}}
	for key, all := range f.values {
		if key != "until" {
			plainForm.values[key] = all
		}
	}
	for _, span := range quickSpans {
		tabs = append(tabs, tab{span.text, plainForm.link("since", span.value), since == span.value && until == ""})
	}
	return tabs
}

// hops is the switch that shows mail taken over from other nodes as rows of its own.
func (f *filterForm) hops() tab {
	if f.values.Get("hops") != "" {
		return tab{"Hide hops", f.link("hops", ""), true}
	}
	return tab{"Show hops", f.link("hops", fleet.HopsYes), false}
}

// canonical takes empty parameters out of the address, which a plain HTML form sends for every input, so that what is
// kept and passed on is short. It answers false when the address is fine already.
func canonical(r *http.Request) (string, bool) {
	values := r.URL.Query()
	changed := false
	for name, all := range values {
		if len(all) == 1 && all[0] == "" {
			values.Del(name)
			changed = true
		}
	}
	return withQuery(r.URL.Path, values), changed
}
