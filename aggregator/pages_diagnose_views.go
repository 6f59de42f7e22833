package aggregator

import (
	"slices"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The views of the matrix, as its address has them: all checks, those that failed or warn somewhere, and those that could
// not tell somewhere.
const (
	showAll    = ""
	showHand   = "hand"
	showUntold = "untold"
)

var diagnosticsViews = []struct{ show, text string }{{showAll, "All checks"}, {showHand, "Need a hand"}, {showUntold, "Could not tell"}}

// choose leaves the checks of one view, and counts those of each for the tabs.
func (p *diagnosticsPage) choose(show string) {
	p.Show, p.Self = show, diagnosticsLink(show)
	for _, one := range diagnosticsViews {
		n := 0
		for _, group := range p.Groups {
			for i := range group.Rows {
				if group.Rows[i].in(one.show) {
					n++
				}
			}
		}
		p.Tabs = append(p.Tabs, tab{Text: one.text + " " + countWords(n), Link: diagnosticsLink(one.show), Current: one.show == show})
	}
	if len(p.Groups) == 0 {
		p.Tabs = nil // nobody looked yet
	}
	for i := range p.Groups {
		p.Groups[i].Rows = slices.DeleteFunc(p.Groups[i].Rows, func(row checkRow) bool { return !row.in(show) })
		for _, row := range p.Groups[i].Rows {
			for _, cell := range row.Cells {
				if cell.Was.Text != "" {
					p.Changed++
				}
			}
		}
	}
	p.Groups = slices.DeleteFunc(p.Groups, func(g checkGroup) bool { return len(g.Rows) == 0 })
}

func diagnosticsLink(show string) string {
	if show == showAll {
		return "/diagnostics"
	}
	return "/diagnostics?show=" + show
}

// in tells whether a check belongs to a view.
func (r *checkRow) in(show string) bool {
	switch show {
	case showHand:
		return r.has(fleet.GradeFail) || r.has(fleet.GradeWarn)
	case showUntold:
		return r.has(fleet.GradeUnknown)
	}
	return true
}

// has tells whether a node found a grade.
func (r *checkRow) has(grade fleet.Grade) bool {
	return slices.ContainsFunc(r.Cells, func(c checkCell) bool { return c.Mark == gradeMark(grade) })
}
