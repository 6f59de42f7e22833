package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/postfleet/postfleet/aggregator"
)

// carriers prints the parts of the way that other nodes carried.
func (s screen) carriers(out *bytes.Buffer, j *aggregator.Journey) {
	if j == nil {
		return
	}
	for i := range j.Branches {
		b := &j.Branches[i]
		h := b.Handover
		if h == nil {
			continue
		}
		carrier := h.Carrier
		if carrier == "" {
			carrier = "another node"
		}
		fmt.Fprintf(out, "  %s %s", s.paint(dim, fmt.Sprintf("%-10s", "over")), s.paint(bold, visible(carrier)))
		if h.QueueID != "" {
			fmt.Fprintf(out, " as %s", visible(h.QueueID))
		}
		fmt.Fprintf(out, " for %s", visible(strings.Join(b.Recipients, ", ")))
		if b.Count > len(b.Recipients) {
			fmt.Fprintf(out, " and %d in all", b.Count)
		}
		fmt.Fprintf(out, "\n    %s\n", visible(h.Why))
		if problem := handoverProblem(h); problem != "" {
			fmt.Fprintf(out, "    %s\n", s.paint(bold, visible(problem)))
		}
		for j := range b.Failed {
			s.leg(out, &b.Failed[j])
		}
		for j := range h.Failed {
			s.leg(out, &h.Failed[j])
		}
		if b.Last != nil {
			s.leg(out, b.Last)
		}
		if h.Bounce != "" {
			fmt.Fprintf(out, "    %s told the sender: %s\n", visible(carrier), visible(h.Bounce))
		}
	}
}

func handoverProblem(h *aggregator.Handover) string {
	switch h.Source {
	case aggregator.Unconfirmed:
		return "what it says can't be confirmed, so it isn't followed: " + h.Problem
	case aggregator.NotYetTold:
		return "it has not told yet what became of it"
	case aggregator.FromOrigin:
		return "it can't be asked (" + h.Problem + "): this is what was last heard of it, at " + stamp(h.AsOf)
	}
	return ""
}

func (s screen) leg(out *bytes.Buffer, l *aggregator.Leg) {
	tls := l.TLS
	if tls == "" {
		tls = "no TLS"
	}
	fmt.Fprintf(out, "    %s  %s  %s -> %s  %s\n", stamp(l.Time), s.fate(visible(l.Status)), visible(l.Node), visible(l.Peer), visible(tls))
	if l.Reply != "" {
		fmt.Fprintf(out, "      %s\n", visible(l.Reply))
	}
}

// advice prints what to do next, once for each reason.
func (s screen) advice(out *bytes.Buffer, all []aggregator.TracedAdvice) {
	for i := range all {
		a := &all[i].Advice
		fmt.Fprintf(out, "  %s %s\n", s.paint(dim, fmt.Sprintf("%-10s", "next")), s.paint(bold, visible(a.Title)))
		fmt.Fprintf(out, "    %s\n", visible(a.Means))
		for n, step := range a.Do {
			fmt.Fprintf(out, "    %d. %s\n", n+1, visible(step))
		}
		for _, link := range a.Links {
			fmt.Fprintf(out, "    %s\n", visible(link))
		}
	}
}

var nearWords = map[string]string{"sender": "the same sender, another recipient", "recipient": "the same recipient, another sender", "time": "at another time"}

// neverSeen prints who was asked, how far their word goes, and what looks like the mail.
func (s screen) neverSeen(answer *aggregator.TraceAnswer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\n", visible(answer.Words))
	for _, n := range answer.Nodes {
		fmt.Fprintf(&out, "  %s", s.paint(bold, fmt.Sprintf("%-10s", visible(n.Node))))
		if !n.Since.IsZero() {
			fmt.Fprintf(&out, " has messages since %s,", stamp(n.Since))
		}
		if !n.LastLine.IsZero() {
			fmt.Fprintf(&out, " log read up to %s,", stamp(n.LastLine))
		}
		limits := strings.Join(n.Limits, "; ")
		if limits == "" {
			limits = "nothing missing"
		}
		fmt.Fprintf(&out, " %s\n", visible(limits))
	}
	for i := range answer.Near {
		m := &answer.Near[i].Message
		to := ""
		if len(m.Recipients) > 0 {
			to = m.Recipients[0].Address
		}
		fmt.Fprintf(&out, "  %s %s  %s  %s  %s -> %s (%s)\n", s.paint(dim, fmt.Sprintf("%-10s", "like it")), stamp(m.FirstSeen), visible(m.Node),
			visible(m.QueueID), visible(m.Sender), visible(to), nearWords[answer.Near[i].Why])
	}
	_, err := s.Write(out.Bytes())
	return err
}
