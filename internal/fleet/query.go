package fleet

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// View is a ready-made selection by fate, as Xeams' Message Repository has them.
type View string

// The views. Bounced and rejected take a message in when any of its recipients was.
const (
	ViewAll      View = "all"
	ViewGood     View = "good"  // every accepted recipient delivered
	ViewQueue    View = "queue" // waits for a recipient at least, here or with the node that carries it
	ViewBounced  View = "bounced"
	ViewRejected View = "rejected" // refused or aborted
)

// Views lists all views in the order of the page's tabs.
var Views = []View{ViewGood, ViewQueue, ViewBounced, ViewRejected, ViewAll}

// Limits of a query.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
	// MinWord is the shortest substring that the index can find (FTS5 trigrams).
	MinWord = 3
	maxText = 320 // longest filter: an address is 320 octets at the most (RFC 5321 section 4.5.3.1)
)

// Query selects messages of one node, newest first. Zero fields select everything. All filters must hold; those about
// recipients (Recipient, Domain, Status, Relay, Carrier, TLS, Reason) must hold for one and the same recipient. Text
// comparison ignores ASCII case, but for QueueID, Reason, Carrier and Node.
type Query struct {
	View      View
	Since     time.Time // first seen at or after
	Until     time.Time // first seen before
	Sender    string    // user@domain: that address; @domain: that domain; <>: the null sender; otherwise a substring
	Recipient string    // the same; OrigTo counts too
	Domain    string    // a recipient's domain, exactly
	Subject   string    // words; each must occur somewhere in the subject
	MessageID string    // exactly, with or without <>
	QueueID   string    // exactly, case included
	Client    string    // client's IP address exactly, or its host name or a parent domain of it
	User      string    // authenticated user, exactly
	Status    Status    // of a recipient
	Relay     string    // host name or IP address that an attempt went to, on this node or on the carrier, exactly
	Carrier   string    // the node that a recipient's mail was handed to, as [Recipient.Carrier] says; "*": any other node
	TLS       string    // "yes" or "no": delivered to another host with or without it, as Stats counts them
	Reason    string    // why a recipient was refused, exactly as [RefusalReason] says it and Stats counts it
	Signed    string    // "yes", "no" or a signing domain
	Node      string    // a node's name, exactly: the aggregator asks that node alone
	Hops      string    // mail taken from other nodes to be sent on: "" without, unless QueueID names it; "yes" with; "only"
	Before    MessageID // cursor: only ids below it
	Limit     int       // 0 means DefaultLimit
}

// Page is one answer to a query.
type Page struct {
	Messages []Message `json:"messages"`
	Next     MessageID `json:"next,omitempty"` // Before of the next page; zero at the end
}

// The names of the query's parameters on every URL: node API, JSON API and browser alike.
const (
	paramView      = "view"
	paramSince     = "since"
	paramUntil     = "until"
	paramSender    = "sender"
	paramRecipient = "recipient"
	paramDomain    = "domain"
	paramSubject   = "subject"
	paramMessageID = "message_id"
	paramQueueID   = "queue_id"
	paramClient    = "client"
	paramUser      = "user"
	paramStatus    = "status"
	paramRelay     = "relay"
	paramCarrier   = "carrier"
	paramTLS       = "tls"
	paramReason    = "reason"
	paramSigned    = "signed"
	paramNode      = "node"
	paramHops      = "hops"
	paramBefore    = "before"
	paramLimit     = "limit"
)

// texts pairs each free-text field with its parameter.
func (q *Query) texts() []struct {
	name  string
	value *string
} {
	return []struct {
		name  string
		value *string
	}{
		{paramSender, &q.Sender}, {paramRecipient, &q.Recipient}, {paramDomain, &q.Domain}, {paramSubject, &q.Subject},
		{paramMessageID, &q.MessageID}, {paramQueueID, &q.QueueID}, {paramClient, &q.Client}, {paramUser, &q.User},
		{paramRelay, &q.Relay}, {paramCarrier, &q.Carrier}, {paramTLS, &q.TLS}, {paramReason, &q.Reason},
		{paramSigned, &q.Signed}, {paramNode, &q.Node},
	}
}

// ParseQuery reads a query from URL parameters; parameters that it doesn't know are left to the caller. Times are RFC
// 3339, or a duration that counts back from now ("24h", "7d"). The error is an [Error] that names the field.
func ParseQuery(values url.Values, now time.Time) (Query, error) {
	var q Query
	for _, text := range q.texts() {
		*text.value = strings.TrimSpace(values.Get(text.name))
	}
	q.View = View(values.Get(paramView))
	q.Status = Status(values.Get(paramStatus))
	q.Hops = values.Get(paramHops)
	var err error
	if q.Since, err = parseTime(paramSince, values.Get(paramSince), now); err != nil {
		return Query{}, err
	}
	if q.Until, err = parseTime(paramUntil, values.Get(paramUntil), now); err != nil {
		return Query{}, err
	}
	if text := values.Get(paramBefore); text != "" {
		if q.Before, err = ParseMessageID(text); err != nil {
			return Query{}, Invalid(paramBefore, "%q is not a cursor: expected a message id", clip(text, 40))
		}
	}
	if text := values.Get(paramLimit); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > MaxLimit {
			return Query{}, Invalid(paramLimit, "%q is not a number from 1 to %d", clip(text, 40), MaxLimit)
		}
	}
	return q, q.Validate()
}

// Validate tells the first field that can't be asked for.
func (q *Query) Validate() error {
	for _, text := range q.texts() {
		if len(*text.value) > maxText {
			return Invalid(text.name, "longer than %d bytes", maxText)
		}
		if !utf8.ValidString(*text.value) || strings.ContainsRune(*text.value, 0) {
			return Invalid(text.name, "not valid UTF-8 text")
		}
	}
	switch q.View {
	case "", ViewAll, ViewGood, ViewQueue, ViewBounced, ViewRejected:
	default:
		return Invalid(paramView, "%q is not a view: expected good, queue, bounced, rejected or all", clip(string(q.View), 40))
	}
	if q.Status != "" && !known(q.Status) {
		return Invalid(paramStatus, "%q is not a status: expected one of %s", clip(string(q.Status), 40), joinStatuses())
	}
	if q.TLS != "" && q.TLS != TLSYes && q.TLS != TLSNo {
		return Invalid(paramTLS, "%q is neither yes nor no", clip(q.TLS, 40))
	}
	if q.Hops != "" && q.Hops != HopsYes && q.Hops != HopsOnly {
		return Invalid(paramHops, "%q is neither yes nor only", clip(q.Hops, 40))
	}
	for _, part := range []struct{ name, text string }{{paramSender, q.Sender}, {paramRecipient, q.Recipient}} {
		if part.text != "" && part.text != NullSender && !strings.Contains(part.text, "@") && utf8.RuneCountInString(part.text) < MinWord {
			return Invalid(part.name, "%q is too short: a part of an address needs %d characters", part.text, MinWord)
		}
	}
	if q.Subject != "" && !longEnough(strings.Fields(q.Subject)) {
		return Invalid(paramSubject, "at least one word must have %d characters", MinWord)
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return Invalid(paramUntil, "is not after since")
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return Invalid(paramLimit, "%d is not a number from 1 to %d", q.Limit, MaxLimit)
	}
	return nil
}

// The values of [Query.Hops] other than none.
const (
	HopsYes  = "yes"  // origins and hops
	HopsOnly = "only" // hops alone
)

// NullSender asks for mail from the null sender.
const NullSender = "<>"

func known(status Status) bool {
	for _, s := range Statuses {
		if s == status {
			return true
		}
	}
	return false
}

func joinStatuses() string {
	names := make([]string, len(Statuses))
	for i, s := range Statuses {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func longEnough(words []string) bool {
	for _, word := range words {
		if utf8.RuneCountInString(word) >= MinWord {
			return true
		}
	}
	return false
}

// Values is the query as URL parameters; ParseQuery reads them back.
func (q *Query) Values() url.Values {
	values := url.Values{}
	set := func(name, value string) {
		if value != "" {
			values.Set(name, value)
		}
	}
	for _, text := range q.texts() {
		set(text.name, *text.value)
	}
	set(paramView, string(q.View))
	set(paramStatus, string(q.Status))
	set(paramHops, q.Hops)
	if !q.Since.IsZero() {
		set(paramSince, q.Since.UTC().Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		set(paramUntil, q.Until.UTC().Format(time.RFC3339Nano))
	}
	if q.Before > 0 {
		set(paramBefore, q.Before.String())
	}
	if q.Limit > 0 {
		set(paramLimit, strconv.Itoa(q.Limit))
	}
	return values
}

func parseTime(field, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, ok := parseAgo(text); ok {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			if t.Year() < 1970 || t.Year() > 9999 {
				break
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, Invalid(field, "%q is not a time: expected RFC 3339 (2026-11-23T10:00:00Z) or a span back from now (24h, 7d)", clip(text, 40))
}

func parseAgo(text string) (time.Duration, bool) {
	if days, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, false
		}
		return time.Duration(n) * 24 * time.Hour, true
	}
	ago, err := time.ParseDuration(text)
	return ago, err == nil && ago >= 0
}
