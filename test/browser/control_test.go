package browser_test

import (
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// everyLook looks at a page in light, dark and on a phone, and has axe-core judge each.
func (p *tab) everyLook(path string) {
	p.t.Helper()
	for _, look := range []struct {
		width, height int64
		dark          bool
	}{{1280, 900, false}, {1280, 900, true}, {390, 844, false}} {
		p.must(p.Window(look.width, look.height, look.dark))
		p.goTo(path)
		problems, err := p.Axe()
		p.must(err)
		for _, problem := range problems {
			p.t.Errorf("%s at %d, dark %v: %s", path, look.width, look.dark, problem)
		}
		p.until(path+" is no wider than the window", `document.documentElement.scrollWidth <= innerWidth`)
	}
	p.must(p.Window(1280, 900, false))
}

// An operator changes how mail is relayed, sees it arrive on the nodes, and is told when somebody else was faster.
func TestRelayPage(t *testing.T) {
	p := openAs(t, fakefleet.Operator)
	p.everyLook("/relay")
	p.goTo("/messages")
	p.press("g", "r")
	p.until("g r leads to the page", `location.pathname === "/relay"`)
	p.until("the mode in force is chosen", `document.querySelector("input[name=mode]:checked").value === "balance"`)
	p.must(p.Click("button[value=add]"))
	p.until("there is a row more", `document.querySelectorAll(".rules li").length === 3`)
	p.must(p.Run(`document.querySelectorAll("[name=rule_domain]")[2].value = "shop.example"; document.querySelector("input[value=failover]").click(); 0`))
	p.must(p.Click(".save button[value=save]"))
	p.until("it asks first", `document.querySelector(".review") !== null && document.querySelector(".review").textContent.includes("Mode: balance → failover")`)
	problems, err := p.Axe()
	p.must(err)
	if len(problems) > 0 {
		t.Errorf("the question: %v", problems)
	}
	p.must(p.Click("button[value=confirm]"))
	p.until("it is saved", `location.search.startsWith("?saved=") && document.querySelector(".notice.good") !== null`)
	p.until("it says what changed", `document.querySelector(".changes").textContent.includes("Exception for shop.example: new")`)
	p.until("the nodes have it", `document.querySelectorAll("#in-force .mark.good").length >= 3 && document.querySelector("#in-force").textContent.includes("failover")`)
	p.until("the rule stands", `[...document.querySelectorAll("[name=rule_domain]")].some((f) => f.value === "shop.example")`)
	p.must(p.Click("button[value='remove 0']"))
	p.until("a row less", `document.querySelectorAll(".rules li").length === 2`)
	p.must(p.Run(`document.querySelector("[name=index]").value = "41"; 0`)) // a page that was open since before
	p.must(p.Click(".save button[value=save]"))
	p.until("who was faster is told", `document.getElementById("relay-error").textContent.includes("olga changed the settings")`)
	p.until("theirs are shown", `document.querySelectorAll(".rules li").length === 3`)
	p.must(p.Scripts(false))
	p.goTo("/relay")
	p.must(p.Click("button[value='remove 2']"))
	p.until("rows go without JavaScript", `document.querySelectorAll(".rules li").length === 2`)
	p.must(p.Click(".save button[value=save]"))
	p.until("saved without JavaScript", `location.search.startsWith("?saved=")`)
	p.until("with what changed", `document.querySelector(".changes").textContent.includes("taken away")`)
	p.noProblems()
}

// A viewer sees the settings, and nothing that changes them.
func TestRelayPageOfAViewer(t *testing.T) {
	p := open(t)
	p.everyLook("/relay")
	p.goTo("/relay")
	p.until("nothing can be changed", `document.querySelector(".relay fieldset").disabled && !document.querySelector("button[value=save]")`)
	p.noProblems()
}

// A node is drained by two clicks, without JavaScript too; the page follows it until the host may be rebooted.
func TestDrain(t *testing.T) {
	p := openAs(t, fakefleet.Admin, func(o *fakefleet.Options) { o.Down = "mx4" })
	p.everyLook("/nodes")
	p.everyLook("/nodes/mx2/drain")
	p.everyLook("/nodes/mx3/drain") // which can't
	p.everyLook("/nodes/mx4/forget")
	p.goTo("/messages")
	p.goTo("/nodes/mx2/drain")
	p.press("u")
	p.until("u leads back to the nodes, not to the list that was open before", `location.pathname === "/nodes"`)
	p.must(p.Click(`a[href="/nodes/mx2/drain"]`))
	p.until("it asks first", `document.querySelector("h1").textContent.includes("Drain mx2?")`)
	p.must(p.Run(`document.getElementById("reason").value = "new kernel"; 0`))
	p.must(p.Click("form.state button.primary"))
	p.until("what is left is shown", `location.pathname === "/nodes" && document.querySelector("#t-mx2 .drainline").textContent.includes("12 left.")`)
	p.until("and who asked, and why", `/adam.*new kernel/s.test(document.querySelector("#t-mx2 .drainline").textContent)`)
	p.until("it is no alarm", `!document.querySelector("#t-mx2 .alerts") && !document.getElementById("t-mx2").classList.contains("bad")`)
	p.everyLook("/nodes")
	p.site.Nodes["mx2"].Drained()
	p.goTo("/nodes")
	p.until("it may be rebooted", `document.querySelector("#t-mx2 .drainline.safe").textContent.includes("Safe to reboot.")`)
	p.must(p.Scripts(false))
	p.goTo("/nodes")
	p.must(p.Click(`a[href="/nodes/mx2/undrain"]`))
	p.must(p.Click("form.state button.primary"))
	p.until("it takes mail again", `!document.querySelector("#t-mx2 .drainline")`)
	p.must(p.Click(`a[href="/nodes/mx4/forget"]`))
	p.must(p.Click("form.state button.primary"))
	p.until("it is forgotten", `location.pathname === "/nodes" && !document.getElementById("t-mx4")`)
	p.noProblems()
}

// The rows of a node that went away stay, each with its age; those of the others are live. When it is back the marks go.
func TestMemory(t *testing.T) {
	p := openAs(t, fakefleet.User, func(o *fakefleet.Options) { o.Memory = true })
	link := p.site.Find("mx1", func(m *fleet.Message) bool { return m.Fate() == fleet.FateDelivered })
	p.goTo(link) // its conversations are remembered from now on
	p.must(p.site.Leave(t.Context(), "mx1"))
	p.goTo("/messages")
	p.until("the node is named", `document.querySelector(".notice.wait").textContent.includes("mx1 did not answer")`)
	p.until("its rows have an age", `[...document.querySelectorAll("#rows tr")].some((r) => r.querySelector(".c-node").textContent.includes("mx1") && /as of .* from memory/s.test(r.textContent))`)
	p.until("the others' have none", `![...document.querySelectorAll("#rows tr.remembered")].some((r) => !r.querySelector(".c-node").textContent.includes("mx1"))`)
	p.everyLook("/messages")
	p.everyLook(link)
	p.goTo(link)
	p.until("the message says of when it is", `document.querySelector(".crumb .memory").textContent.includes("from memory")`)
	p.until("and so do its conversations", `document.querySelector("#transcripts .memory") !== null && document.querySelectorAll("#transcripts .transcript").length > 0`)
	p.everyLook("/nodes")
	p.goTo("/")
	p.until("the figures say it too", `document.querySelector(".notice.wait").textContent.includes("from memory")`)
	p.goTo("/messages")
	p.site.Nodes["mx1"].SetDown(nil)
	p.goTo("/messages")
	p.until("back, and no marks", `document.querySelectorAll("#rows tr").length > 0 && !document.querySelector("#rows .memory") && !document.querySelector(".notice")`)
	p.noProblems()
}
