package aggregator_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"golang.org/x/net/html"

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
