package browser_test

import (
	"testing"

	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// A part that asks again by itself leaves alone what its reader has opened and stands on, and says so when no answer comes
// any more: what is there stays.
func TestPartsThatAskAgain(t *testing.T) {
	p := openAs(t, fakefleet.Admin)
	p.goTo("/messages")
	p.press("g", "k")
	p.until("g k leads to the keys", `location.pathname === "/keys"`)
	p.must(p.Run(`document.querySelector("#keystates .keyset").dataset.before = "yes"; const d = document.querySelectorAll("#keystates details")[1]; d.open = true; d.querySelector("summary").focus(); 0`))
	p.until("it asked again", `document.querySelector("#keystates .keyset").dataset.before === undefined`)
	p.until("what was opened is open", `document.querySelectorAll("#keystates details")[1].open`)
	p.until("who stood on it still does", `document.activeElement === document.querySelectorAll("#keystates details summary")[1]`)
	p.must(p.Run(`fetch("/logout", {method: "POST"}); 0`))
	p.until("that the session ended is said", `!document.getElementById("stale").hidden && document.getElementById("stale").textContent.includes("session has ended")`)
	p.until("what was there is still there", `document.querySelectorAll("#keystates .keyset").length > 0`)
}

// While Consul is away each page says so on top, also one that was open before, and no longer when it is back.
func TestConsulIsAway(t *testing.T) {
	p := openAs(t, fakefleet.Operator)
	for _, path := range []string{"/keys", "/relay"} {
		p.goTo(path)
		p.site.ConsulAway("the Consul agent can't be reached: connection refused")
		p.until(path+" says so by itself", `document.querySelector("#discovery .notice")?.textContent.includes("Consul does not answer. What you see is of the nodes that it knew last (the Consul agent can't be reached")`)
		p.site.ConsulAway("")
		p.until(path+" takes it back", `document.querySelector("#discovery .notice") === null`)
	}
	p.site.ConsulAway("the Consul agent can't be reached: connection refused")
	p.everyLook("/diagnostics")
	p.noProblems()
}

// On a phone the bar of pages shows where in it the page is.
func TestBarOfPagesOnAPhone(t *testing.T) {
	p := open(t)
	p.must(p.Window(390, 844, false))
	p.goTo("/dns")
	p.until("the page's name is in sight", `(() => { const at = document.querySelector(".nav [aria-current]").getBoundingClientRect(); return at.left >= 0 && at.right <= innerWidth; })()`)
	p.noProblems()
}
