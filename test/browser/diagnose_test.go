package browser_test

import (
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// An operator has the nodes look, follows them, opens the evidence and sends a test message.
func TestDiagnosticsPage(t *testing.T) {
	p := openAs(t, fakefleet.Operator)
	p.everyLook("/diagnostics")
	p.everyLook("/diagnostics?show=hand")
	p.everyLook("/diagnostics/nodes/mx2/ptr")
	p.everyLook("/diagnostics/nodes/mx3")
	p.everyLook("/diagnostics/test")
	p.goTo("/messages")
	p.press("g", "d")
	p.until("g d leads to the page", `location.pathname === "/diagnostics"`)
	p.until("what changed stands out", `document.querySelector(".matrix td.changed").textContent.includes("was pass")`)
	p.until("what could not be told isn't good", `[...document.querySelectorAll(".matrix .mark")].some((m) => m.textContent.includes("could not tell") && m.classList.contains("refused"))`)
	p.must(p.Click(`a[href="/diagnostics/nodes/mx2/ptr"]`))
	p.until("the exact record is shown", `document.querySelector(".mend pre").textContent.includes("12.113.0.203.in-addr.arpa. IN PTR mx2.corp.example.")`)
	p.until("the evidence is open", `document.querySelector("details.evidence").open`)
	p.goTo("/diagnostics")
	p.must(p.Click(".diagnose-bar button.primary"))
	p.until("the nodes look", `document.querySelector("#matrix progress") !== null && document.querySelector("#matrix progress").value > 0`)
	for _, node := range p.site.Nodes {
		if _, err := node.Diagnose(t.Context(), fleet.DiagnoseRequest{By: fakefleet.Operator}); err != nil { // ends what runs
			t.Fatal(err)
		}
	}
	p.until("the page sees the end by itself", `document.querySelector("#matrix progress") === null && document.querySelectorAll(".matrix .mark").length > 80`)
	p.goTo("/diagnostics/test")
	p.must(p.Run(`document.getElementById("to").value = "you@example.org"; document.getElementById("node").value = "mx1"; 0`))
	p.must(p.Click(".testform button.primary"))
	p.until("its journey is shown", `document.querySelectorAll(".journey .mark.good").length === 1 && document.querySelector(".steps").textContent.includes("mx1.gmail.example")`)
	p.must(p.Scripts(false))
	p.goTo("/diagnostics/test")
	p.must(p.Click(".testform button.primary"))
	p.until("without a recipient the browser doesn't send", `location.search === ""`)
	p.goTo("/diagnostics")
	p.must(p.Click(".diagnose-bar button.primary"))
	p.until("it works without JavaScript", `location.pathname === "/diagnostics" && document.querySelector("#matrix progress") !== null`)
	p.noProblems()
}

// A viewer sees what was found, and no button.
func TestDiagnosticsOfAViewer(t *testing.T) {
	p := open(t)
	p.goTo("/diagnostics")
	p.until("no button", `document.querySelectorAll(".matrix .mark").length > 80 && document.querySelector(".diagnose-bar") === null`)
	p.goTo("/diagnostics/nodes/mx3/spf-fleet")
	p.until("hostile evidence is shown as text", `document.querySelector(".evidence pre").textContent.includes("<script>alert(1)</script>") && document.querySelector(".evidence .ctl") !== null`)
	p.noProblems()
}
