package browser_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// tab is a browser that has signed in at a site; its steps fail the test.
type tab struct {
	*browser.Browser
	t    *testing.T
	site *fakefleet.Site
}

func open(t *testing.T) *tab {
	t.Helper()
	return openAs(t, fakefleet.User)
}

// openAs is a browser in which somebody has signed in, at a site of its own.
func openAs(t *testing.T, user string, change ...func(*fakefleet.Options)) *tab {
	t.Helper()
	s := site(t, change...)
	b, err := browser.Start(t.Context())
	if errors.Is(err, browser.ErrNoChromium) {
		t.Skip("SKIPPED: no chromium on this host; the pages were not looked at")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	one := &tab{b, t, s}
	one.must(b.Window(1280, 900, false))
	one.must(b.SignIn(s.URL, user, fakefleet.Password))
	return one
}

func (p *tab) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) goTo(path string) {
	p.t.Helper()
	p.must(p.Open(p.site.URL + path))
}

func (p *tab) until(what, expression string) {
	p.t.Helper()
	p.must(p.Until(what, expression))
}

func (p *tab) press(keys ...string) {
	p.t.Helper()
	p.must(p.Press(keys...))
}

func (p *tab) noProblems() {
	p.t.Helper()
	if problems := p.Problems(); len(problems) > 0 {
		p.t.Errorf("the pages caused errors: %s", strings.Join(problems, "; "))
	}
}

// The steps would see what they look for: a planted fault is found, each of its kind.
func TestFaultsAreSeen(t *testing.T) {
	p := open(t)
	p.goTo("/help")
	if problems, err := p.Axe(); err != nil || len(problems) > 0 {
		t.Fatalf("before: %v %v", problems, err)
	}
	p.must(p.Run(`document.querySelector("main").insertAdjacentHTML("beforeend", '<img src="/static/x/icon.svg">'); 0`))
	if problems, err := p.Axe(); err != nil || len(problems) == 0 || !strings.Contains(problems[0], "image-alt") {
		t.Errorf("axe-core doesn't see an image without words: %v %v", problems, err)
	}
	if problems := p.Problems(); len(problems) > 0 {
		t.Fatalf("before: %v", problems)
	}
	for _, fault := range []string{`console.error("planted")`, `setTimeout(() => { throw new Error("planted") })`,
		`document.body.setAttribute("style", "color: red")`, `document.body.append(Object.assign(document.createElement("script"), {textContent: "window.planted = 1"}))`} {
		p.must(p.Run(fault + "; 0"))
		var seen []string
		for range 100 {
			if seen = p.Problems(); len(seen) > 0 {
				break
			}
			p.until("time passes", "true")
		}
		if len(seen) == 0 {
			t.Errorf("nothing was seen of %s", fault)
		}
	}
}

func TestKeyboard(t *testing.T) {
	p := open(t)
	p.goTo("/messages")
	p.press("?")
	p.until("? opens help", `document.getElementById("help").open`)
	p.press(kb.Escape)
	p.until("Esc closes it", `!document.getElementById("help").open`)
	p.press("/")
	p.until("/ goes to the filters", `document.activeElement.id === "f-sender"`)
	p.press("j", "?")
	p.until("keys are text in a field", `document.getElementById("f-sender").value.endsWith("j?") && !document.getElementById("help").open`)
	p.press(kb.Escape, "3")
	p.until("3 is the third view", `new URL(location).searchParams.get("view") === "bounced" && document.querySelector(".views a:nth-child(3)").hasAttribute("aria-current")`)
	p.press("g", "n")
	p.until("g n goes to the nodes", `location.pathname === "/nodes"`)
	p.press("g", "o")
	p.until("g o goes to the overview", `location.pathname === "/" && document.querySelector(".tiles")`)
	p.goTo("/messages?limit=10")
	p.press("n")
	p.until("n loads older rows", `document.querySelectorAll("#rows tr").length === 20`)
	p.press(strings.Split(strings.Repeat("j", 15), "")...)
	p.until("j walks on through them", `[...document.querySelectorAll("#rows a.open")].indexOf(document.activeElement) === 14`)
	p.goTo("/messages")
	p.press(kb.Tab, kb.Enter)
	p.until("the first stop of Tab skips to the content", `document.activeElement.id === "main"`)
	p.noProblems()
}

// The browser's way back works over updates in place.
func TestBack(t *testing.T) {
	p := open(t)
	p.goTo("/messages")
	p.must(p.Click(".views a:nth-child(3)"))
	p.until("the view changes in place", `new URL(location).searchParams.get("view") === "bounced" && document.title.startsWith("Bounced")`)
	p.must(p.Click("#rows a.open"))
	p.until("a message is open", `document.querySelector(".msghead")`)
	p.must(p.Run(`history.back()`))
	p.until("back is the view", `document.title.startsWith("Bounced") && document.querySelector(".views a:nth-child(3)[aria-current]") && document.querySelector("#rows tr")`)
	p.must(p.Run(`history.back()`))
	p.until("back again is the whole list", `document.title.startsWith("All –") && !new URL(location).searchParams.has("view") && document.querySelectorAll("#rows tr").length === 50`)
	p.noProblems()
}

// Many conversations are folded; the link of an attempt unfolds its own.
func TestLinksUnfold(t *testing.T) {
	p := open(t)
	p.goTo(p.site.Find("mx1", func(m *fleet.Message) bool { return len(m.Recipients) > 5 && m.Fate() == fleet.FateDelivered }))
	p.until("the conversations are folded", `document.querySelectorAll(".said-lines").length > 5 && !document.querySelector(".said-lines[open]")`)
	p.must(p.Click(".attempts summary"))
	p.must(p.Click(`.attempts a[href^="#t-"]`))
	p.until("the right one is unfolded", `document.querySelectorAll(".said-lines[open]").length === 1 && document.querySelector(".said-lines[open] " + CSS.escape(location.hash).replace("\\#", "#"))`)
	p.noProblems()
}

func TestColoursAreRemembered(t *testing.T) {
	p := open(t)
	for _, want := range []string{"light", "dark"} {
		p.must(p.Click("[data-theme-toggle]"))
		p.until("the colours are "+want, `getComputedStyle(document.documentElement).colorScheme === "`+want+`"`)
		p.goTo("/nodes")
		p.until("the next page has them too", `document.documentElement.dataset.theme === "`+want+`"`)
	}
	p.must(p.Click("[data-theme-toggle]"))
	p.until("the third is the system's", `!document.documentElement.dataset.theme && localStorage.getItem("theme") === null`)
	p.noProblems()
}

// Rows that come while somebody reads further down don't move what is being read.
func TestRowsWaitForTheReader(t *testing.T) {
	p := open(t)
	p.goTo("/messages")
	p.until("the list is live", `document.querySelector("[data-live-state]").textContent === "live"`)
	p.must(p.Run(`scrollTo(0, 400)`))
	p.until("the reader is further down", `scrollY === 400`)
	p.site.Arrive("mx1", func(m *fleet.Message) { m.Subject = "from above" })
	p.until("the row waits", `!document.querySelector("[data-live-new]").hidden && document.querySelector("[data-live-new]").textContent === "Show 1 new"`)
	p.until("nothing moved", `scrollY === 400 && !document.querySelector("#rows").textContent.includes("from above")`)
	p.must(p.Run(`scrollTo(0, 0)`))
	p.until("at the top it comes", `document.querySelector("#rows tr").textContent.includes("from above")`)
	p.until("screen readers hear of it", `document.getElementById("announce").textContent === "1 new message"`)
	p.noProblems()
}

// A row changes in place when its message does, and fades when it leaves the view.
func TestRowsFollowTheirMessage(t *testing.T) {
	p := open(t)
	p.goTo("/messages?view=queue")
	p.until("the list is live", `document.querySelector("[data-live-state]").textContent === "live"`)
	waiting := func(m *fleet.Message) {
		m.Subject, m.Removed, m.Recipients[0].Status = "on its way", time.Time{}, fleet.StatusDeferred
	}
	m := p.site.Arrive("mx2", waiting)
	row := `document.querySelector('tr[data-id="` + m.ID.String() + `"]')`
	p.until("the row is there", row+`?.innerText.includes("Deferred")`)
	m.Recipients[0].Status = fleet.StatusHeld
	m.Held = true
	p.site.Nodes["mx2"].Put(m)
	p.until("it changes in its place", row+`?.innerText.includes("Held")`)
	m.Recipients[0].Status, m.Removed = fleet.StatusDelivered, time.Now()
	p.site.Nodes["mx2"].Put(m)
	p.until("it fades as it leaves the queue", row+`?.classList.contains("gone")`)
	p.noProblems()
}

// When a node comes back, whose changes nobody saw, the list is made anew; not under the eyes of who paused it.
func TestListIsMadeAnewAfterAGap(t *testing.T) {
	for _, paused := range []bool{false, true} {
		p := open(t)
		node := p.site.Nodes["mx2"]
		node.SetDown(errors.New("connection refused"))
		p.goTo("/messages")
		p.until("the list is live", `document.querySelector("[data-live-state]").textContent === "live"`)
		p.must(p.Run(`window.before = true`))
		if paused {
			p.must(p.Click("[data-live-toggle]"))
		}
		node.SetDown(nil)
		p.site.Arrive("mx2", func(m *fleet.Message) { m.Subject = "from one that is back" })
		if paused {
			p.site.Arrive("mx1", func(m *fleet.Message) { m.Subject = "a row that waits" })
			p.until("rows wait", `!document.querySelector("[data-live-new]").hidden`)
			p.until("the page is the one that was paused", `window.before && document.querySelector("[data-live-state]").textContent === "paused"`)
			p.until("the stream told of the gap", `document.getElementById("live").dataset.missed === "true"`)
			p.must(p.Click("[data-live-toggle]"))
		}
		p.until("the page is another", `!window.before && document.readyState === "complete"`)
		p.until("it has what was missed", `document.querySelector("#rows").textContent.includes("from one that is back")`)
		p.noProblems()
	}
}

func TestChartLeadsToMessages(t *testing.T) {
	p := open(t)
	p.goTo("/")
	p.until("the chart is drawn", `document.querySelector("#volume-chart canvas")`)
	p.must(p.Click("#volume-chart .u-over"))
	p.until("a click leads to the messages of that time", `location.pathname === "/messages" && new URL(location).searchParams.has("since") && document.querySelector("#rows tr, #empty")`)
	p.noProblems()
}

// Times are the viewer's.
func TestTimesAreTheViewers(t *testing.T) {
	p := open(t)
	p.must(p.Zone("Asia/Kathmandu"))
	p.goTo("/messages")
	p.until("the zone is named", `document.querySelector("[data-zone]").textContent === "UTC+5:45"`)
	p.until("the clock is that zone's", `(() => {
		const time = document.querySelector("#rows time");
		const there = new Intl.DateTimeFormat("en-GB", {timeZone: "Asia/Kathmandu", timeStyle: "medium"}).format(new Date(time.dateTime));
		return time.textContent === there && time.title.includes("UTC+5:45");
	})()`)
	p.must(p.Click(".morefilters summary"))
	p.must(p.Run(`document.getElementById("f-since").value = "2026-01-02 03:04"; document.querySelector("#filters button[type=submit]").click()`))
	p.until("a time typed is that zone's too", `new URL(location).searchParams.get("since") === "2026-01-01T21:19:00Z"`)
	p.noProblems()
}

// Without JavaScript everything can be read and every control that needs it is out of sight.
func TestReadsWithoutJavaScript(t *testing.T) {
	p := open(t)
	p.must(p.Scripts(false))
	p.goTo("/messages")
	p.until("rows are there, live controls are not", `document.querySelectorAll("#rows tr").length === 50 && document.getElementById("live").hidden`)
	p.must(p.Click("#rows a.open"))
	p.until("a message opens with its conversations", `document.querySelector(".lines .say")`)
	p.goTo("/")
	p.until("the figures are an open table", `document.querySelector(".figures").open && document.getElementById("volume-chart").hidden`)
	p.noProblems()
}

// What a stranger wrote is shown and does nothing, in a live row too.
func TestHostileTextIsHarmless(t *testing.T) {
	p := open(t)
	p.must(p.Run(`window.stayed = true`))
	p.goTo("/messages")
	p.until("the list is live", `document.querySelector("[data-live-state]").textContent === "live"`)
	m := p.site.Arrive("mx1", func(m *fleet.Message) {
		m.Subject = fakefleet.Hostile
		m.Sender = "\"<img src=x onerror=alert(9)>\u202e\"@shop.example"
	})
	p.until("the row shows it", `[...document.querySelectorAll("#rows tr")].some(tr => tr.dataset.id === "`+m.ID.String()+`" &&
		tr.innerText.includes("<script>alert(1)</script>") && tr.innerText.includes("⟦U+202E⟧") && !tr.querySelector("script, img"))`)
	p.goTo("/messages/mx1/" + m.ID.String())
	p.until("the page shows it", `document.querySelector("h1").innerText.includes("<script>alert(1)</script>") && !document.querySelector("main img, main script")`)
	p.noProblems()
}
