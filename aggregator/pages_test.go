package aggregator_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"go.uber.org/zap/zaptest"
	"golang.org/x/net/html"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// visitor is somebody who is signed in and reads without JavaScript.
type visitor struct {
	t      *testing.T
	site   *fakefleet.Site
	client *http.Client
}

func visit(t *testing.T, o fakefleet.Options) *visitor {
	t.Helper()
	o.Dir, o.Log = t.TempDir(), zaptest.NewLogger(t, zaptest.Level(zaptest.NewLogger(t).Level()+4))
	site, err := fakefleet.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	v := &visitor{t: t, site: site, client: &http.Client{Jar: jar, Transport: transport, Timeout: 20 * time.Second}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := site.Stop(); err != nil {
			t.Error(err)
		}
	})
	answer, err := v.client.PostForm(site.URL+"/login", url.Values{"user": {fakefleet.User}, "password": {fakefleet.Password}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Request.URL.Path != "/" {
		t.Fatalf("sign-in led to %s with status %d", answer.Request.URL, answer.StatusCode)
	}
	return v
}

// get is a page with its status; redirects are followed.
func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	answer, err := v.client.Get(v.site.URL + path)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func (v *visitor) page(path string, status int) *html.Node {
	v.t.Helper()
	got, body := v.get(path)
	if got != status {
		v.t.Fatalf("%s: status %d, want %d\n%s", path, got, status, body)
	}
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	return doc
}

// find lists the elements that fit.
func find(n *html.Node, fits func(*html.Node) bool) (all []*html.Node) {
	for one := range n.Descendants() {
		if one.Type == html.ElementNode && fits(one) {
			all = append(all, one)
		}
	}
	return all
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func element(name string) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.Data == name }
}

func text(n *html.Node) string {
	var b strings.Builder
	for one := range n.Descendants() {
		if one.Type == html.TextNode {
			b.WriteString(one.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Every page that can be reached keeps to the content security policy, to plain structure, and leads nowhere dead.
func TestEveryPage(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 150, Down: "mx4"})
	seen := map[string]bool{}
	queue := []string{"/", "/help", "/login", "/messages?view=all&limit=20"}
	for checked := 0; len(queue) > 0 && checked < 250; checked++ {
		path := queue[0]
		queue = queue[1:]
		status, body := v.get(path)
		if status != http.StatusOK && !(status == http.StatusServiceUnavailable && strings.Contains(path, "mx4")) {
			t.Errorf("%s: status %d", path, status)
			continue
		}
		doc, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		checkPage(t, path, doc)
		for _, a := range find(doc, element("a")) {
			link := attr(a, "href")
			if strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "/messages.") && !seen[shape(link)] {
				seen[shape(link)] = true
				queue = append(queue, link)
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d kinds of pages were found: the links are not what they were", len(seen))
	}
}

// shape leaves out of an address what makes pages of one kind differ, but for a few of each.
func shape(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return link
	}
	values := u.Query()
	var names []string
	for name := range values {
		names = append(names, name)
		if name == "view" || name == "status" || name == "range" {
			names = append(names, values.Get(name))
		}
	}
	slices.Sort(names)
	path := u.Path
	if parts := strings.Split(path, "/"); len(parts) > 3 {
		id := parts[3]
		path = strings.Join(append([]string{parts[1], parts[2], id[len(id)-1:]}, parts[4:]...), "/")
	}
	return path + "?" + strings.Join(names, "&")
}

func checkPage(t *testing.T, path string, doc *html.Node) {
	t.Helper()
	ids := map[string]bool{}
	labels := map[string]bool{}
	for _, label := range find(doc, element("label")) {
		labels[attr(label, "for")] = true
	}
	for _, n := range find(doc, func(*html.Node) bool { return true }) {
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(a.Key, "hx-on") {
				t.Errorf("%s: <%s %s=%q> is inline script or style", path, n.Data, a.Key, a.Val)
			}
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
				t.Errorf("%s: <%s %s=%q> leads elsewhere", path, n.Data, a.Key, a.Val)
			}
			hidden := strings.ContainsFunc(a.Val, func(r rune) bool {
				return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
			})
			if hidden {
				t.Errorf("%s: <%s %s=%q> holds a character that hides", path, n.Data, a.Key, a.Val)
			}
		}
		switch n.Data {
		case "script":
			if attr(n, "src") == "" || n.FirstChild != nil {
				t.Errorf("%s: inline script", path)
			}
		case "style", "iframe", "object", "embed", "base", "img":
			t.Errorf("%s: <%s>", path, n.Data)
		case "input", "select":
			if attr(n, "type") != "hidden" && !labels[attr(n, "id")] {
				t.Errorf("%s: <%s name=%s> has no label", path, n.Data, attr(n, "name"))
			}
		case "use":
			if icon := strings.TrimPrefix(attr(n, "href"), "#"); len(find(doc, func(s *html.Node) bool { return attr(s, "id") == icon })) != 1 {
				t.Errorf("%s: no icon %s", path, icon)
			}
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("%s: id %s is there twice", path, id)
			}
			ids[id] = true
		}
	}
	if n := len(find(doc, element("h1"))); n != 1 {
		t.Errorf("%s: %d main headings", path, n)
	}
	if len(find(doc, element("main"))) != 1 || attr(find(doc, element("html"))[0], "lang") == "" {
		t.Errorf("%s: no main part or no language", path)
	}
}

// A filter of every kind comes back in its field, as a chip, and in every link of the list.
func TestFiltersStayInTheAddress(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	all := fleet.Query{View: fleet.ViewQueue, Sender: "a@b.example", Recipient: "c&d=e@f.example", Domain: "f.example", Subject: "two words",
		MessageID: "<x+y@z>", QueueID: "4F1a", Client: "10.0.0.1", User: "us er", Status: fleet.StatusDeferred, Relay: "mx.example",
		Signed: "yes", Node: "mx1", Since: time.Now().Add(-time.Hour), Until: time.Now()}
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
	for field, value := range map[string]string{"since": "yesterday", "recipient": "ab", "status": "gone", "subject": "a b", "until": "x"} {
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

// Reading on by links alone shows every message once.
func TestPagingWithoutJavaScript(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 90})
	seen := map[string]bool{}
	path := "/messages?limit=20"
	for pages := 0; path != ""; pages++ {
		if pages > 20 {
			t.Fatal("the list doesn't end")
		}
		doc := v.page(path, http.StatusOK)
		for _, tr := range find(doc, func(n *html.Node) bool { return n.Data == "tr" && attr(n, "data-id") != "" }) {
			if seen[attr(tr, "id")] {
				t.Errorf("%s is there twice", attr(tr, "id"))
			}
			seen[attr(tr, "id")] = true
		}
		path = ""
		for _, next := range find(doc, func(n *html.Node) bool { return attr(n, "rel") == "next" }) {
			path = attr(next, "href")
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d messages were shown, want 100", len(seen))
	}
}

// What a stranger wrote is there to be read, and nothing of it acts.
func TestHostileText(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 1})
	hostile := v.site.Find("mx3", func(m *fleet.Message) bool { return strings.Contains(m.Subject, "script") })
	for _, path := range []string{"/messages?limit=50", hostile, hostile + "/transcripts"} {
		status, body := v.get(path)
		if status != http.StatusOK {
			t.Fatalf("%s: status %d", path, status)
		}
		doc, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, path, doc)
		for _, want := range []string{"<script>alert(1)</script>", "⟦U+202E⟧", "⟦NUL⟧", "⟦U+200B⟧", "⟦FF⟧"} {
			if !strings.Contains(text(doc), want) {
				t.Errorf("%s: %s is not shown", path, want)
			}
		}
		if at := strings.IndexFunc(body, func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
		}); at >= 0 {
			t.Errorf("%s: a character that hides is in the page: %q", path, body[max(0, at-40):at+10])
		}
	}
}

func TestDeadNode(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 120})
	link := v.site.Find("mx2", func(*fleet.Message) bool { return true })
	v.site.Nodes["mx2"].SetDown(errors.New("connection refused"))
	for path, status := range map[string]int{"/messages": 200, "/": 200, "/nodes": 200, link: 503, link + "/transcripts": 503} {
		doc := v.page(path, status)
		if said := text(doc); !strings.Contains(said, "mx2") || !strings.Contains(said, "connection refused") || !strings.Contains(said, "answer") {
			t.Errorf("%s doesn't say that mx2 is away and why: %s", path, said)
		}
	}
	for _, node := range v.site.Nodes {
		node.SetDown(errors.New("no route to host"))
	}
	if said := text(v.page("/messages", http.StatusOK)); !strings.Contains(said, "No node answered") {
		t.Errorf("a fleet that is away looks like no mail: %s", said)
	}
}

func TestEmptyListSaysWhy(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	for path, want := range map[string]string{"/messages": "No message yet", "/messages?view=bounced": "Nothing here",
		"/messages?sender=nobody@nowhere.example": "No message fits these filters"} {
		if said := text(v.page(path, http.StatusOK)); !strings.Contains(said, want) {
			t.Errorf("%s doesn't say %q: %s", path, want, said)
		}
	}
}

// stream reads server-sent events until want comes.
func (v *visitor) stream(path string, arrive func(), want func(name, data string) bool) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.site.URL+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	answer, err := v.client.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	go func() { // a subscription begins some time after the answer's head: say it again until it is heard
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			arrive()
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	var name string
	var data []string
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "event":
			name = value
		case "data":
			data = append(data, value)
		case "":
			if want(name, strings.Join(data, "\n")) {
				return
			}
			name, data = "", nil
		}
	}
	v.t.Errorf("%s: the event didn't come: %v", path, lines.Err())
}

func TestLiveRows(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	v.stream("/messages/live?sender=%40shop.example", func() {
		v.site.Arrive("mx1", func(m *fleet.Message) { m.Sender = "orders@shop.example"; m.Subject = fakefleet.Hostile })
		v.site.Arrive("mx2", func(m *fleet.Message) { m.Sender = "x@other.example" })
	}, func(name, data string) bool {
		if strings.Contains(data, "other.example") || name == "gone" {
			t.Error("the stream tells of a message that the filters leave out")
		}
		return name == "row" && strings.Contains(data, "orders@shop.example") && strings.Contains(data, "&lt;script&gt;")
	})
}

// A message that leaves the queue leaves the view of the queue.
func TestLiveRowsLeave(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	v.stream("/messages/live?view=queue", func() { v.site.Arrive("mx1", nil) }, func(name, data string) bool {
		return name == "gone" && strings.HasPrefix(data, "m-mx1-")
	})
}

func TestAssets(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	doc := v.page("/help", http.StatusOK)
	var links []string
	for _, n := range find(doc, func(n *html.Node) bool { return n.Data == "script" || n.Data == "link" }) {
		links = append(links, attr(n, "src")+attr(n, "href"))
	}
	if len(links) < 8 {
		t.Errorf("%d assets", len(links))
	}
	for _, link := range links {
		for path, cached := range map[string]bool{link: true, "/static/older/" + strings.SplitN(link, "/", 4)[3]: false} {
			answer, err := v.client.Get(v.site.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK || strings.Contains(answer.Header.Get("Cache-Control"), "immutable") != cached {
				t.Errorf("%s: status %d, Cache-Control %q", path, answer.StatusCode, answer.Header.Get("Cache-Control"))
			}
			if kind := answer.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/plain") || kind == "" {
				t.Errorf("%s: Content-Type %q", path, kind)
			}
		}
	}
	for _, path := range []string{"/static/", "/static/x/../../server.go", "/static/x/none.js"} {
		if status, _ := v.get(path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
}
