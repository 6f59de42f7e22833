package aggregator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// Each view of the matrix has the checks of its kind, and each tab their number.
func TestDiagnosticsViews(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	checks := func(doc *html.Node) (titles []string) {
		for _, n := range find(doc, func(n *html.Node) bool { return n.Data == "th" && attr(n, "scope") == "row" }) {
			titles = append(titles, text(n))
		}
		return titles
	}
	doc := v.page("/diagnostics", http.StatusOK)
	all := checks(doc)
	var tabs []string
	for _, n := range find(doc, func(n *html.Node) bool {
		return strings.HasPrefix(attr(n, "href"), "/diagnostics") && n.Parent.Data == "nav"
	}) {
		tabs = append(tabs, attr(n, "href")+" "+text(n))
	}
	want := []string{"/diagnostics Diagnostics", fmt.Sprint("/diagnostics All checks ", len(all)), "/diagnostics?show=hand Need a hand 3", "/diagnostics?show=untold Could not tell 1"}
	if diff := cmp.Diff(want, tabs); diff != "" || len(all) < 20 {
		t.Errorf("%d checks; tabs (-want +got):\n%s", len(all), diff)
	}
	for show, want := range map[string]int{"hand": 3, "untold": 1} {
		doc := v.page("/diagnostics?show="+show, http.StatusOK)
		got := checks(doc)
		if len(got) != want {
			t.Errorf("%s: %v", show, got)
		}
		again := find(doc, func(n *html.Node) bool { return attr(n, "id") == "matrix" })
		if len(again) != 1 || attr(again[0], "hx-get") != "/diagnostics?show="+show {
			t.Errorf("%s: the page asks again for another view", show)
		}
	}
	v.page("/diagnostics?show=odd", http.StatusBadRequest)
	for _, node := range v.site.Nodes {
		node.SetDown(http.ErrServerClosed)
	}
	if said := text(v.page("/diagnostics?show=hand", http.StatusOK)); strings.Contains(said, "Nothing needs a hand") {
		t.Error("nobody answers, and the page says that all is well")
	}
}
