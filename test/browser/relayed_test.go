package browser_test

import (
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// openRelayed is a browser at a site with mail that other nodes carry.
func openRelayed(t *testing.T) *tab {
	t.Helper()
	return openAs(t, fakefleet.User, func(o *fakefleet.Options) { o.Messages, o.Relay, o.Down = 40, true, "mx4" })
}

// mail is the address of the mail of that subject, where it entered the fleet.
func (p *tab) mail(subject string) string {
	p.t.Helper()
	for _, node := range []string{"mx1", "mx2"} {
		if link := p.site.Find(node, func(m *fleet.Message) bool { return m.Subject == subject && !m.IsHop() }); link != "" {
			return link
		}
	}
	p.t.Fatalf("no mail %q", subject)
	return ""
}

// Every page about mail that other nodes carry is readable by all, in light, dark and on a phone.
func TestRelayedMailIsForEveryone(t *testing.T) {
	p := openRelayed(t)
	paths := []string{"/messages?limit=100&since=1h", "/messages?hops=yes&since=1h", "/trace", "/trace?recipient=gone@gmail.example&since=1h",
		"/trace?sender=billing@shop.example&recipient=nobody@partner.example", "/trace?sender=ab"}
	for _, subject := range []string{"Carried by turn", "Carried after a failure", "Still under way", "Waits at the carrier", "Bounced by the carrier",
		"The carrier is away", "Another mail's queue id", "Over all nodes at once"} {
		paths = append(paths, p.mail(subject))
	}
	for _, form := range []struct {
		width int64
		dark  bool
		paths []string
	}{{1360, false, paths}, {390, false, paths}, {1000, true, []string{paths[1], paths[3], p.mail("Over all nodes at once")}}} {
		p.must(p.Window(form.width, 850, form.dark))
		for _, path := range form.paths {
			p.goTo(path)
			p.must(p.Run(`document.querySelectorAll("details").forEach(d => { d.open = true })`))
			if problems, err := p.Axe(); err != nil || len(problems) > 0 {
				t.Errorf("%s (%d): axe-core: %v %v", path, form.width, problems, err)
			}
			p.until("nothing scrolls sideways", `document.documentElement.scrollWidth <= innerWidth`)
		}
	}
	p.noProblems()
}

// A click on the blue arrow opens the conversation on the node that had it, at the right place.
func TestArrowLeadsToTheConversation(t *testing.T) {
	p := openRelayed(t)
	p.goTo("/messages?since=1h&subject=turn&limit=100")
	p.must(p.Click(`a.sign.out.carried`))
	p.until("the carrier's conversation is open", `location.pathname.endsWith("/transcripts") && location.hash.startsWith("#t-") &&
		document.querySelector(location.hash.replace(/([^\w#-])/g, "\\$1")).closest("details").open &&
		/^fetched live from mx[23]/.test(document.querySelector(".fetched").innerText)`)
	p.noProblems()
}

// A row shows its hops below it, once, and walking on by keyboard goes through them.
func TestRowShowsItsHops(t *testing.T) {
	p := openRelayed(t)
	p.goTo("/messages?since=1h&subject=failure")
	p.until("one row a mail", `document.querySelectorAll("#rows tr").length === 1 && document.querySelector("#rows .via")?.innerText.includes("mx2")`)
	p.must(p.Click(`#rows .hops`))
	p.until("its hop is below it", `document.querySelectorAll("#rows tr").length === 2 && document.querySelector("#rows tr:nth-child(2)").classList.contains("hoprow")`)
	p.press("j", "j")
	p.until("j walks on to the hop", `document.activeElement.closest("tr").classList.contains("hoprow")`)
	p.noProblems()
}

// The trace is asked by keyboard, answered in place, and can be asked without JavaScript too.
func TestTraceIsAsked(t *testing.T) {
	p := openRelayed(t)
	p.goTo("/messages")
	p.press("g", "t")
	p.until("g t goes to the trace", `location.pathname === "/trace" && document.getElementById("f-recipient")`)
	p.must(p.Run(`document.getElementById("f-recipient").value = "kontakt@grey.example"; document.querySelector(".traceform button").click()`))
	p.until("the verdict is there", `document.querySelector(".verdict")?.innerText.includes("Queued") && document.querySelector(".advice")?.innerText.includes("Greylisted") &&
		new URL(location).searchParams.get("recipient") === "kontakt@grey.example"`)
	p.must(p.Scripts(false))
	p.goTo("/trace")
	p.must(p.Click(".traceform button"))
	p.until("an empty question is answered in words", `document.querySelector(".field-error, .notice.bad") || location.search === ""`)
	p.noProblems()
}
