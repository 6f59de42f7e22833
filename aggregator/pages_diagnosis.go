package aggregator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// diagnosisPage is one node: all findings, or one of them, and how they were before.
type diagnosisPage struct {
	Column   diagnosisColumn
	Findings []findingView
	One      bool // a single check is shown
	May      bool
	History  []outlineView
	Titles   map[string]string
}

// findingView is a finding with its evidence.
type findingView struct {
	fleet.Finding
	Mark  mark
	Was   mark
	Parts []partView
	Past  []pastGrade // of this check, the newest first
}

type partView struct {
	fleet.Part
	Mark mark
	Mend []mendLine
}

// mendLine is advice: words, or an exact record or command.
type mendLine struct {
	Text  string
	Exact bool
}

type pastGrade struct {
	Time time.Time
	Mark mark
}

type outlineView struct {
	fleet.DiagnosisOutline
	Counts  []gradeCount
	Changes []changeView
}

type changeView struct {
	Title    string
	From, To mark
}

func (s *Server) pageDiagnosis(w http.ResponseWriter, r *http.Request) { s.oneDiagnosis(w, r, "") }

func (s *Server) pageFinding(w http.ResponseWriter, r *http.Request) {
	check, err := url.PathUnescape(mux.Vars(r)["check"])
	if err != nil {
		s.fail(w, r, fleet.Invalid("check", "not URL-encoded"))
		return
	}
	s.oneDiagnosis(w, r, check)
}

func (s *Server) oneDiagnosis(w http.ResponseWriter, r *http.Request, check string) {
	node, err := pathNode(r)
	var d Diagnosing
	if err == nil {
		d, err = s.diagnosing()
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	found := d.Diagnoses(r.Context(), node)
	if len(found) != 1 || found[0].Diagnoses == nil {
		reason := "no answer"
		if len(found) == 1 {
			reason = found[0].Error
		}
		s.fail(w, r, fleet.Errorf(fleet.CodeUnavailable, "node %s: %s", clip(node, 80), reason))
		return
	}
	view := newDiagnosisPage(&found[0], check)
	if check != "" && len(view.Findings) == 0 {
		s.fail(w, r, fleet.Errorf(fleet.CodeNotFound, "node %s has not made a check %q", clip(node, 80), clip(check, 40)))
		return
	}
	view.May = userFrom(r.Context()).Role.May(accounts.Operator)
	s.render(w, r, http.StatusOK, "diagnosis", "Diagnosis of "+plain(node), view)
}

func newDiagnosisPage(n *NodeDiagnosis, check string) *diagnosisPage {
	view := &diagnosisPage{Column: newColumn(n), One: check != "", Titles: map[string]string{}}
	if view.Column.Latest != nil {
		for _, found := range view.Column.Latest.Findings {
			view.Titles[found.Check] = found.Title
			if check == "" || found.Check == check {
				view.Findings = append(view.Findings, newFinding(found, n.Diagnoses.History))
			}
		}
	}
	slices.SortStableFunc(view.Findings, func(a, b findingView) int { // what needs a hand comes first
		switch {
		case a.Grade.Graver(b.Grade):
			return -1
		case b.Grade.Graver(a.Grade):
			return 1
		}
		return 0
	})
	for _, past := range n.Diagnoses.History {
		if check == "" {
			view.History = append(view.History, view.outline(past))
		}
	}
	return view
}

func newFinding(found fleet.Finding, history []fleet.DiagnosisOutline) findingView {
	view := findingView{Finding: found, Mark: gradeMark(found.Grade)}
	if found.Was != "" {
		view.Was = gradeMark(found.Was)
	}
	for _, p := range found.Parts {
		one := partView{Part: p, Mark: gradeMark(p.Grade)}
		for _, line := range p.Mend {
			one.Mend = append(one.Mend, mendLine{Text: line, Exact: exactLine(line)})
		}
		view.Parts = append(view.Parts, one)
	}
	for _, past := range history {
		if grade, there := past.Grades[found.Check]; there {
			view.Past = append(view.Past, pastGrade{past.Started, gradeMark(grade)})
		}
	}
	return view
}

// exactLine tells a record or a command from a sentence, which ends like one.
func exactLine(line string) bool {
	return strings.Contains(line, " IN ") || !strings.HasSuffix(line, ":") && !strings.HasSuffix(line, ".") && line != "or"
}

func (p *diagnosisPage) outline(past fleet.DiagnosisOutline) outlineView {
	view := outlineView{DiagnosisOutline: past}
	counts := map[fleet.Grade]int{}
	for _, grade := range past.Grades {
		counts[grade]++
	}
	for _, grade := range fleet.Grades {
		if counts[grade] > 0 && grade != fleet.GradeNA {
			view.Counts = append(view.Counts, gradeCount{gradeMark(grade), counts[grade]})
		}
	}
	for _, change := range past.Changes {
		title := p.Titles[change.Check]
		if title == "" {
			title = plain(change.Check)
		}
		view.Changes = append(view.Changes, changeView{title, gradeMark(change.From), gradeMark(change.To)})
	}
	return view
}
