package browser_test

import (
	"testing"

	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// An operator sees each key's state, has the next ones made, with and without JavaScript, and finds their records.
func TestKeysPage(t *testing.T) {
	p := openAs(t, fakefleet.Operator)
	p.everyLook("/keys")
	p.everyLook("/keys/order?verb=rotate&domain=shop.example&node=mx1,mx2,mx3")
	p.everyLook("/dns")
	p.goTo("/keys")
	p.until("states are told in words", `["Active", "Generated", "Retiring", "Retired", "Mismatch"].every((word) => document.querySelector("#keystates").textContent.includes(word))`)
	p.until("what can't be told is said", `document.querySelector("#keystates").textContent.includes("could not tell")`)
	p.until("an operator can't force", `document.querySelector("a[href*='force=yes']") === null`)
	p.must(p.Click(".keyset .sechead a.button"))
	p.until("it asks first", `location.pathname === "/keys/order" && document.querySelector("#main").textContent.includes("you publish the records")`)
	p.must(p.Click("button.primary"))
	p.until("it is done", `location.search === "?done=rotate" && document.querySelector(".notice.good") !== null`)
	p.until("there are new keys", `document.querySelector("#keystates").textContent.includes("-202611z")`)
	p.goTo("/dns")
	p.until("the record is to be published", `document.querySelector("#main").textContent.includes("-202611z._domainkey.corp.example")`)
	p.until("what may go has no value to publish", `[...document.querySelectorAll(".dnsrow")].filter((r) => r.textContent.includes("May be removed")).every((r) => r.querySelector(":scope > pre") === null)`)
	p.until("the look-ups are counted", `document.querySelector("#main").textContent.includes("SPF takes 12 of 10 look-ups")`)
	p.must(p.Scripts(false))
	p.goTo("/keys")
	p.must(p.Click("a[href*='verb=activate']"))
	p.until("asked without JavaScript", `document.querySelector("#main").textContent.includes("it will refuse: the record")`)
	p.must(p.Click("button.primary"))
	p.until("activated without JavaScript", `location.search === "?done=activate"`)
	p.noProblems()
}

// A viewer sees the keys, and nothing that changes them; an admin may force.
func TestKeysPageByRole(t *testing.T) {
	viewer := open(t)
	viewer.goTo("/keys")
	viewer.until("no buttons", `document.querySelector("#main form") === null && document.querySelectorAll(".keystate tbody tr").length > 6`)
	viewer.noProblems()
	admin := openAs(t, fakefleet.Admin)
	admin.everyLook("/keys")
	admin.goTo("/keys")
	admin.until("an admin may force", `document.querySelector("a[href*='force=yes']") !== null`)
	admin.must(admin.Click("a[href*='force=yes']"))
	admin.until("it says what that means", `document.querySelector("#main").textContent.includes("can't verify what it signs")`)
	admin.must(admin.Click("button.primary"))
	admin.until("it is done", `location.search === "?done=activate"`)
	admin.noProblems()
}
