package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
)

// grade paints a grade. What could not be told is painted as a warning and never as something good.
func (s screen) grade(g fleet.Grade, width int) string {
	word := string(g)
	switch g {
	case fleet.GradeNA:
		word = "n/a"
	case fleet.GradePass, fleet.GradeWarn, fleet.GradeFail, fleet.GradeUnknown:
	default:
		word = visible(word)
	}
	padded := word + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(word)))
	return s.paint(map[fleet.Grade]string{fleet.GradePass: green, fleet.GradeWarn: yellow, fleet.GradeFail: red, fleet.GradeUnknown: yellow,
		fleet.GradeNA: dim}[g], padded)
}

// widest is the width of "unknown".
const widest = 7

// diagnosis prints the findings of one node; those that were asked for, or all.
func (s screen) diagnosis(d *fleet.Diagnosis, checks []string, all bool) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s  %s", s.paint(bold, visible(d.Node)), stamp(d.Ended))
	if d.HELO != "" {
		fmt.Fprintf(&out, "  HELO %s", visible(d.HELO))
	}
	for _, e := range d.Egress {
		fmt.Fprintf(&out, "  from %s (%s)", visible(e.Address), visible(e.From))
	}
	out.WriteString("\n")
	for i := range d.Findings {
		found := &d.Findings[i]
		if len(checks) == 0 || slices.Contains(checks, found.Check) {
			s.finding(&out, found, all)
		}
	}
	fmt.Fprintf(&out, "%d failed, %d warned, %d could not tell, %d passed\n", d.Count(fleet.GradeFail), d.Count(fleet.GradeWarn),
		d.Count(fleet.GradeUnknown), d.Count(fleet.GradePass))
	_, err := s.Write(out.Bytes())
	return err
}

func (s screen) finding(out *bytes.Buffer, found *fleet.Finding, all bool) {
	was := ""
	if found.Was != "" {
		was = s.paint(dim, " (was "+visible(string(found.Was))+")")
	}
	fmt.Fprintf(out, "%s  %-13s %s%s\n", s.grade(found.Grade, widest), visible(found.Check), visible(found.Title), was)
	for _, p := range found.Parts {
		fine := p.Grade == fleet.GradePass || p.Grade == fleet.GradeNA
		if fine && !all {
			continue
		}
		text := p.Seen
		if p.Subject != "" {
			text = p.Subject + ": " + text
		}
		fmt.Fprintf(out, "         %s %s\n", s.grade(p.Grade, widest), visible(text))
		for _, line := range p.Mend {
			fmt.Fprintf(out, "           %s %s\n", s.paint(bold, ">"), visible(line))
		}
		if all {
			for _, line := range p.Evidence {
				fmt.Fprintf(out, "           %s\n", s.paint(dim, visible(line)))
			}
		}
	}
}

// matrix prints checks down and nodes across.
func (s screen) matrix(nodes []aggregator.NodeDiagnosis) error {
	var out bytes.Buffer
	type line struct{ check, title string }
	var lines []line
	for _, n := range nodes {
		if n.Diagnoses == nil || n.Diagnoses.Latest == nil {
			continue
		}
		for _, found := range n.Diagnoses.Latest.Findings {
			if one := (line{found.Check, found.Title}); !slices.ContainsFunc(lines, func(l line) bool { return l.check == one.check }) {
				lines = append(lines, one)
			}
		}
	}
	fmt.Fprintf(&out, "%-14s", "")
	for _, n := range nodes {
		fmt.Fprintf(&out, " %-*s", column(n.Node), visible(n.Node))
	}
	out.WriteString("\n")
	for _, l := range lines {
		fmt.Fprintf(&out, "%-14s", visible(l.check))
		for _, n := range nodes {
			text := fleet.Grade("-")
			if n.Diagnoses != nil && n.Diagnoses.Latest != nil {
				if found := n.Diagnoses.Latest.Finding(l.check); found != nil {
					text = found.Grade
				}
			}
			fmt.Fprintf(&out, " %s", s.grade(text, column(n.Node)))
		}
		out.WriteString("\n")
	}
	_, err := s.Write(out.Bytes())
	return err
}

func column(node string) int { return max(widest, utf8.RuneCountInString(visible(node))) }

// fleetFindings prints what isn't in order, by check, with the nodes that it is about.
func (s screen) fleetFindings(nodes []aggregator.NodeDiagnosis, all bool) error {
	var out bytes.Buffer
	for _, n := range nodes {
		if n.Diagnoses == nil || n.Diagnoses.Latest == nil {
			continue
		}
		d := *n.Diagnoses.Latest
		if !all {
			d.Findings = slices.DeleteFunc(slices.Clone(d.Findings), func(f fleet.Finding) bool {
				return f.Grade == fleet.GradePass || f.Grade == fleet.GradeNA
			})
		}
		if len(d.Findings) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%s\n", s.paint(bold, cmp.Or(visible(d.Node), visible(n.Node))))
		for i := range d.Findings {
			s.finding(&out, &d.Findings[i], all)
		}
	}
	_, err := s.Write(out.Bytes())
	return err
}
