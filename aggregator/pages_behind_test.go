package aggregator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// Behind the share sent with TLS, and behind each reason for a refusal, are the recipients that were counted, and no others.
func TestFiguresLeadToWhatTheyCount(t *testing.T) {
	v := visit(t, fakefleet.Options{Messages: 400})
	for _, path := range []string{"/?range=7d", "/?range=7d&node=mx2"} {
		doc := v.page(path, http.StatusOK)
		reasons := find(doc, func(n *html.Node) bool { return n.Data == "ol" && attr(n, "class") == "reasons" })
		if len(reasons) != 1 {
			t.Fatalf("%s: %d lists of reasons", path, len(reasons))
		}
		for _, a := range find(reasons[0], element("a")) {
			want, err := strconv.Atoi(text(find(a, element("b"))[0]))
			if err != nil {
				t.Fatal(err)
			}
			reason := text(find(a, func(n *html.Node) bool { return attr(n, "class") == "reason" })[0])
			got := v.recipientsBehind(attr(a, "href"), func(r *fleet.Recipient) bool { return r.Refusal() == reason })
			if got != want {
				t.Errorf("%s: behind %d × %q are %d", path, want, reason, got)
			}
		}
		tile := find(doc, func(n *html.Node) bool {
			return strings.HasPrefix(attr(n, "class"), "tile") && n.Data == "li" && strings.Contains(text(n), "TLS")
		})[0]
		links := find(tile, element("a"))
		with := v.recipientsBehind(attr(links[0], "href"), func(r *fleet.Recipient) bool { return r.SentTLS() == fleet.TLSYes })
		without := v.recipientsBehind(attr(links[1], "href"), func(r *fleet.Recipient) bool { return r.SentTLS() == fleet.TLSNo })
		want := fmt.Sprintf("Sent with TLS%.1f %%%d in clear", 100*float64(with)/float64(with+without), without)
		if got := strings.ReplaceAll(text(tile), "\u00a0", " "); without == 0 || got != want {
			t.Errorf("%s: the tile says %q, and behind it is %q", path, got, want)
		}
	}
}

// recipientsBehind counts recipients of the messages that a link leads to. Each message must have one that counts.
func (v *visitor) recipientsBehind(link string, counts func(*fleet.Recipient) bool) (n int) {
	v.t.Helper()
	status, body := v.get(strings.Replace(link, "/messages?", "/messages.json?", 1))
	if status != http.StatusOK {
		v.t.Fatalf("%s: status %d", link, status)
	}
	for line := range strings.Lines(body) {
		var m fleet.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			v.t.Fatalf("%s: %v", line, err)
		}
		before := n
		for i := range m.Recipients {
			if counts(&m.Recipients[i]) {
				n++
			}
		}
		if n == before {
			v.t.Errorf("%s leads to a message that was not counted: %s", link, line)
		}
	}
	return n
}
