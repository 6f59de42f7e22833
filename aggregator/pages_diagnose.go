package aggregator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// diagnosticsPage is the matrix: checks down, nodes across.
type diagnosticsPage struct {
	Columns []diagnosisColumn
	Groups  []checkGroup
	Running int // nodes that look at this moment
	Done    int // checks, of those nodes
	Total   int
	May     bool // this user may have the nodes look
	Changed int  // results that are shown
	Error   string
	Show    string // which checks: one of the views
	Tabs    []tab
	Self    string // address of this view
}

// diagnosisColumn is a node.
type diagnosisColumn struct {
	Node    string
	Error   string // why it says nothing
	Latest  *fleet.Diagnosis
	Running *fleet.Diagnosis
	Next    time.Time
	Link    string
	Counts  []gradeCount
}

type gradeCount struct {
	Mark  mark
	Count int
}

// checkGroup are the rows of one group.
type checkGroup struct {
	Name string
	Rows []checkRow
}

// checkRow is a check over all nodes.
type checkRow struct {
	Check, Title, Why string
	Cells             []checkCell // one a column
}

// checkCell is what one node found by one check.
type checkCell struct {
	Mark    mark
	Was     mark   // the zero mark: as before
	Link    string // to the evidence; empty: there is none
	Seen    string
	Pending bool // the node looks right now and hasn't come to this check
}

// gradeMarks show grades. What could not be told has a mark of its own, which is never that of something good.
var gradeMarks = map[fleet.Grade]mark{
	fleet.GradePass:    {"delivered", "good", "pass", "As it should be"},
	fleet.GradeWarn:    {"deferred", "wait", "warn", "Works, and should be better"},
	fleet.GradeFail:    {"rejected", "bad", "fail", "Keeps mail from arriving, or soon will"},
	fleet.GradeUnknown: {"unknown", "refused", "could not tell", "Neither good nor bad: whoever was asked gave no answer that can be trusted"},
	fleet.GradeNA:      {"held", "quiet", "n/a", "Doesn't apply to this node"},
}

func gradeMark(g fleet.Grade) mark {
	if m, known := gradeMarks[g]; known {
		return m
	}
	return mark{"unknown", "refused", plain(string(g)), "A result that this version doesn't know"}
}

func (s *Server) pageDiagnostics(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, "show", "told")
	show := values.Get("show")
	if err == nil && show != showAll && show != showHand && show != showUntold {
		err = fleet.Invalid("show", "expected %s or %s, not %q", showHand, showUntold, clip(show, 40))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.renderDiagnostics(w, r, http.StatusOK, show, strings.Join(s.noteLeft(r, values.Get("told")), "; "))
}

func (s *Server) renderDiagnostics(w http.ResponseWriter, r *http.Request, status int, show, failure string) {
	d, err := s.diagnosing()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	view := newDiagnosticsPage(d.Diagnoses(r.Context(), ""))
	view.choose(show)
	view.May, view.Error = userFrom(r.Context()).Role.May(accounts.Operator), failure
	s.render(w, r, status, "diagnostics", "Diagnostics", view)
}

// newDiagnosticsPage puts the rows in the order of the node that knows most checks; those that only others know come after.
func newDiagnosticsPage(nodes []NodeDiagnosis) *diagnosticsPage {
	view := &diagnosticsPage{}
	for i := range nodes {
		view.Columns = append(view.Columns, newColumn(&nodes[i]))
		if running := view.Columns[i].Running; running != nil {
			view.Running++
			view.Done += len(running.Findings)
			view.Total += running.Total
		}
	}
	seen := map[string]bool{}
	for _, found := range allFindings(view.Columns) {
		if seen[found.Check] {
			continue
		}
		seen[found.Check] = true
		row := checkRow{Check: found.Check, Title: found.Title, Why: found.Why}
		for i := range view.Columns {
			row.Cells = append(row.Cells, newCell(&view.Columns[i], found.Check))
		}
		at := slices.IndexFunc(view.Groups, func(g checkGroup) bool { return g.Name == found.Group })
		if at < 0 {
			at = len(view.Groups)
			view.Groups = append(view.Groups, checkGroup{Name: found.Group})
		}
		view.Groups[at].Rows = append(view.Groups[at].Rows, row)
	}
	return view
}

// allFindings are those of all nodes, the node with the most of them first: its order is that of the newest version.
func allFindings(columns []diagnosisColumn) (all []fleet.Finding) {
	var lists [][]fleet.Finding
	for _, c := range columns {
		for _, d := range []*fleet.Diagnosis{c.Latest, c.Running} {
			if d != nil {
				lists = append(lists, d.Findings)
			}
		}
	}
	slices.SortStableFunc(lists, func(a, b []fleet.Finding) int { return len(b) - len(a) })
	return slices.Concat(lists...)
}

func newColumn(n *NodeDiagnosis) diagnosisColumn {
	c := diagnosisColumn{Node: n.Node, Error: n.Error, Link: diagnosisLink(n.Node, "")}
	if n.Diagnoses == nil {
		return c
	}
	c.Latest, c.Running, c.Next = n.Diagnoses.Latest, n.Diagnoses.Running, n.Diagnoses.Next
	if c.Latest != nil {
		c.Counts = countGrades(c.Latest)
	}
	return c
}

func countGrades(d *fleet.Diagnosis) (counts []gradeCount) {
	for _, grade := range []fleet.Grade{fleet.GradeFail, fleet.GradeWarn, fleet.GradeUnknown, fleet.GradePass} {
		if n := d.Count(grade); n > 0 {
			counts = append(counts, gradeCount{gradeMark(grade), n})
		}
	}
	return counts
}

func newCell(c *diagnosisColumn, check string) checkCell {
	var found *fleet.Finding
	if c.Latest != nil {
		found = c.Latest.Finding(check)
	}
	cell := checkCell{}
	if c.Running != nil {
		if fresh := c.Running.Finding(check); fresh != nil {
			found = fresh
		} else {
			cell.Pending = true
		}
	}
	if found == nil {
		return cell
	}
	cell.Mark, cell.Link = gradeMark(found.Grade), diagnosisLink(c.Node, check)
	if found.Was != "" {
		cell.Was = gradeMark(found.Was)
	}
	if len(found.Parts) > 0 {
		cell.Seen = clip(found.Parts[0].Seen, 160)
	}
	return cell
}

func diagnosisLink(node, check string) string {
	link := "/diagnostics/nodes/" + url.PathEscape(node)
	if check != "" {
		link += "/" + url.PathEscape(check)
	}
	return link
}

// pageDiagnose has nodes look, and leads back to the matrix, which follows them.
func (s *Server) pageDiagnose(w http.ResponseWriter, r *http.Request) {
	if !s.readForm(w, r, maxBody) {
		return
	}
	wish := DiagnosisWish{Node: r.PostForm.Get("node")}
	back := "/diagnostics"
	if check := r.PostForm.Get("check"); check != "" {
		wish.Checks = []string{check}
		back = diagnosisLink(wish.Node, check)
	}
	nodes, err := s.diagnose(r, wish)
	if err != nil {
		s.renderDiagnostics(w, r, httperr.Status(fleet.CodeOf(err)), showAll, publicMessage(err))
		return
	}
	if failed := notBegun(nodes); len(failed) > 0 { // the others look, and their cells arrive in the matrix
		back = "/diagnostics?" + url.Values{"told": {s.leaveNote(r, failed)}}.Encode()
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}
