package aggregator_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// ofClass lists the elements that have a class.
func ofClass(n *html.Node, class string) []*html.Node {
	return find(n, func(e *html.Node) bool {
		for one := range strings.FieldsSeq(attr(e, "class")) {
			if one == class {
				return true
			}
		}
		return false
	})
}

func subject(want string) func(*fleet.Message) bool {
	return func(m *fleet.Message) bool { return m.Subject == want && !m.IsHop() }
}

// The arrow of a mail that another node delivered says so in words and in shape, and leads to the conversation on that node.
func TestBlueArrow(t *testing.T) {
	v := visit(t, fakefleet.Options{Relay: true})
	doc := v.page("/messages?limit=200", http.StatusOK)
	row := find(doc, func(n *html.Node) bool {
		return n.Data == "tr" && len(ofClass(n, "open")) == 1 && text(ofClass(n, "open")[0]) == "Carried by turn"
	})
	if len(row) != 1 {
		t.Fatalf("%d rows: one for a mail", len(row))
	}
	arrows := ofClass(row[0], "carried")
	if len(arrows) != 1 || attr(find(arrows[0], element("use"))[0], "href") != "#i-hop-lock" || !strings.Contains(text(arrows[0]), "encrypted, by another node (mx2)") {
		t.Fatalf("the arrow: %v", text(row[0]))
	}
	if !strings.Contains(text(ofClass(row[0], "c-node")[0]), "mx1 →carried by mx2") {
		t.Errorf("the carrier's name is not in the row: %s", text(ofClass(row[0], "c-node")[0]))
	}
	link, _, _ := strings.Cut(attr(arrows[0], "href"), "#")
	if said := text(v.page(link, http.StatusOK)); !strings.HasPrefix(link, "/messages/mx2/") || !strings.Contains(said, "fetched live from mx2") || !strings.Contains(said, "RCPT TO:<anna@partner.example>") {
		t.Errorf("%s is not the conversation: %s", link, said)
	}
	hops := v.page(attr(ofClass(row[0], "hops")[0], "href"), http.StatusOK)
	if rows := ofClass(hops, "hoprow"); len(rows) != 1 || !strings.Contains(text(rows[0]), "mx2 from mx1") {
		t.Errorf("its hops: %d rows", len(rows))
	}
	if rows := ofClass(v.page("/messages?hops=yes&limit=200", http.StatusOK), "hoprow"); len(rows) < 8 {
		t.Errorf("with hops the list has %d", len(rows))
	}
}

// What a node carries for others is one list, and the figures of the relay and the nodes page lead to it.
func TestCarriedByNode(t *testing.T) {
	v := visit(t, fakefleet.Options{Relay: true})
	carriers := func(link string) (names []string) {
		t.Helper()
		for _, row := range find(v.page(link+"&limit=200", http.StatusOK), func(n *html.Node) bool { return n.Data == "tr" && attr(n, "data-id") != "" }) {
			said := ""
			for _, via := range ofClass(row, "via") {
				said += text(via)
			}
			names = append(names, said)
		}
		return names
	}
	for _, page := range []string{"/relay", "/nodes"} {
		links := find(v.page(page, http.StatusOK), func(n *html.Node) bool { return strings.Contains(attr(n, "href"), "carrier=") })
		if len(links) == 0 {
			t.Fatalf("%s leads to nothing that is carried", page)
		}
		for _, link := range links {
			href, err := url.Parse(attr(link, "href"))
			if err != nil {
				t.Fatal(err)
			}
			for _, said := range carriers(href.String()) {
				if by := href.Query().Get("carrier"); by == fleet.AnyCarrier && href.Query().Get("node") == "" || by != fleet.AnyCarrier && !strings.Contains(said, by) {
					t.Errorf("%s: %s lists mail carried by %q", page, href, said)
				}
			}
		}
	}
	if got := carriers("/messages?carrier=mx2"); len(got) < 3 {
		t.Errorf("mx2 carries %v", got)
	}
	if got := carriers("/messages?carrier=mx9"); len(got) != 0 {
		t.Errorf("no such node carries %v", got)
	}
}

// Each kind of ride is told on its page, and none of it breaks a rule of pages.
func TestWayOverOtherNodes(t *testing.T) {
	v := visit(t, fakefleet.Options{Relay: true, Down: "mx4"})
	for ride, want := range map[string][]string{
		"Carried by turn":             {"mx1 spreads outgoing mail over the nodes (balance)", "mx.partner.example", "within the fleet"},
		"Carried after a failure":     {"2 attempts failed before", "Connection refused", "mx1 could not deliver it itself (failover): 554 5.7.1 Service unavailable"},
		"Still under way":             {"In transit", "the other node has not told yet", "Connection refused"},
		"Waits at the carrier":        {"Deferred", "2 attempts of mx1 failed", "Greylisted: what to do next", "The server refuses everybody whom it sees for the first time"},
		"Bounced by the carrier":      {"Bounced", "The sender was told by mx1", "Bounce sent to the sender", "by mx1", "There is no such Gmail mailbox"},
		"The carrier is away":         {"mx4 can't be asked", "refused the connection", "this is what mx1 last heard of it"},
		"Another mail's queue id":     {"can't be confirmed, so it isn't followed", "the message that mx3 has there has another Message-ID"},
		"Refused by a hostile server": {"<script>alert(1)</script>", "⟦U+202E⟧", "⟦NUL⟧", "⟦FF⟧", "mx.evil.example"},
		"Over all nodes at once":      {"mx3", "mx2", "mx00.gmx.example", "anna@partner.example, wei.chen@partner.example, office@partner.example and 4 in all"},
	} {
		link := v.site.Find("mx1", subject(ride)) + v.site.Find("mx2", subject(ride))
		doc := v.page(link, http.StatusOK)
		checkPage(t, ride, doc)
		for _, words := range want {
			if !strings.Contains(text(doc), words) {
				t.Errorf("%s doesn't say %q", ride, words)
			}
		}
		if ride == "Another mail's queue id" {
			for _, a := range find(doc, element("a")) {
				if strings.HasPrefix(attr(a, "href"), "/messages/mx3/") {
					t.Errorf("it leads to %s", attr(a, "href"))
				}
			}
		}
	}
}

// A hop and the notice about one lead back to the mail as it entered the fleet.
func TestHopsLeadBack(t *testing.T) {
	v := visit(t, fakefleet.Options{Relay: true})
	origin := v.site.Find("mx2", subject("Bounced by the carrier"))
	hop := v.site.Find("mx1", func(m *fleet.Message) bool { return m.IsHop() && m.Subject == "Bounced by the carrier" })
	notice := v.site.Find("mx1", func(m *fleet.Message) bool {
		return len(m.Links) > 0 && m.Links[0].Kind == fleet.LinkNoticeOf && strings.HasSuffix(hop, m.Links[0].ID.String())
	})
	for page, words := range map[string]string{hop: "This is a hop: the mail entered the fleet at mx2", notice: "This is a notice about a mail that entered the fleet at mx2"} {
		doc := v.page(page, http.StatusOK)
		checkPage(t, page, doc)
		if !strings.Contains(text(doc), words) || len(find(doc, func(n *html.Node) bool { return attr(n, "href") == origin })) == 0 {
			t.Errorf("%s doesn't lead back to %s", page, origin)
		}
	}
	if len(find(v.page(origin, http.StatusOK), func(n *html.Node) bool { return attr(n, "href") == notice })) == 0 {
		t.Errorf("%s doesn't lead to the notice %s", origin, notice)
	}
	forged := v.site.Find("mx3", func(m *fleet.Message) bool { return m.IsHop() && m.Subject == "Another mail's queue id" })
	if said := text(v.page(forged, http.StatusOK)); !strings.Contains(said, "It can't be confirmed: no message on mx2 says that it handed this mail over") {
		t.Errorf("a hop that nobody handed over: %s", said)
	}
}

func TestTracePage(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 60, Relay: true, Down: "mx4"})
	for query, want := range map[string][]string{
		"":                                       {"Trace delivery"},
		"recipient=gone@gmail.example&since=1h":  {"Failed", "Bounced by the carrier", "There is no such Gmail mailbox", "Check the address for a typing error"},
		"recipient=anna@evil.example":            {"Failed", "<script>alert(1)</script>", "⟦U+202E⟧", "⟦NUL⟧"},
		"recipient=kontakt@grey.example":         {"Queued", "Greylisted", "Wait: Postfix tries again by itself"},
		"sender=nobody@nowhere.example&since=7d": {"Never seen", "No node that answered has seen such a mail: 3 of 4 did", "did not answer", "2.4 MB of its log are not read yet"},
		"id=" + url.QueryEscape("<x@y>"):         {"Never seen", "Message-ID"},
		"sender=" + url.QueryEscape("<script>alert(1)</script>@x.example"): {"Never seen", "<script>alert(1)</script>@x.example"},
	} {
		doc := v.page("/trace?"+query, http.StatusOK)
		checkPage(t, query, doc)
		for _, words := range want {
			if !strings.Contains(text(doc), words) {
				t.Errorf("%s doesn't say %q: %s", query, words, text(doc))
			}
		}
	}
	for query, want := range map[string]string{"since=1h": "nothing to trace", "sender=ab": "too short", "sender=@a.example&since=never": "is not a time"} {
		if said := text(v.page("/trace?"+query, http.StatusBadRequest)); !strings.Contains(said, want) {
			t.Errorf("%s: %s", query, said)
		}
	}
}

// Live rows leave hops out as the list does, and bring them where they were asked for.
func TestLiveHops(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 10})
	arrive := func() {
		v.site.Arrive("mx2", func(m *fleet.Message) {
			m.Source, m.Hop, m.Subject = fleet.SourceHop, &fleet.Hop{Origin: "mx1", QueueID: "Q"}, "a live hop"
		})
		v.site.Arrive("mx2", func(m *fleet.Message) { m.Subject = "a live mail" })
	}
	v.stream("/messages/live?hops=only", arrive, func(name, data string) bool {
		if strings.Contains(data, "a live mail") {
			t.Errorf("mail among hops alone: %s", data)
		}
		return name == "row" && strings.Contains(data, "a live hop") && strings.Contains(data, "hoprow")
	})
	v.stream("/messages/live", arrive, func(name, data string) bool {
		if strings.Contains(data, "a live hop") {
			t.Errorf("a hop among the mail: %s", data)
		}
		return name == "row" && strings.Contains(data, "a live mail")
	})
}
