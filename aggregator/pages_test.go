package aggregator_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

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
			// Advice leads elsewhere, on a click and without telling where from; nothing else does.
			elsewhere := n.Data == "a" && a.Key == "href" && attr(n, "rel") == "external noopener noreferrer" && strings.HasPrefix(a.Val, "http")
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && !elsewhere {
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

// A figure of the overview and the list that it leads to agree, to the message.
func TestFiguresLeadToTheirMessages(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 120})
	for _, path := range []string{"/", "/?range=7d&node=mx1"} {
		doc := v.page(path, http.StatusOK)
		checked := 0
		for _, row := range find(doc, func(n *html.Node) bool { return n.Data == "tr" && attr(n, "data-t") != "" }) {
			cell := find(row, element("td"))[0]
			if attr(cell, "data-n") == "0" {
				continue
			}
			link := attr(find(cell, element("a"))[0], "href")
			list := v.page(link+"&limit=200", http.StatusOK)
			rows := find(list, func(n *html.Node) bool { return n.Data == "tr" && attr(n, "data-id") != "" })
			if strconv.Itoa(len(rows)) != attr(cell, "data-n") {
				t.Errorf("%s: %s messages, but %s has %d", path, attr(cell, "data-n"), link, len(rows))
			}
			checked++
		}
		if checked < 3 {
			t.Errorf("%s: only %d steps had messages", path, checked)
		}
	}
}
