package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
)

// nodes prints a table, a node a line.
func (s screen) nodes(list []aggregator.NodeView) error {
	table := tabwriter.NewWriter(s, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tMAIL\tWEIGHT\tQUEUE\tVERSION\tSTATE")
	for i := range list {
		view := &list[i]
		fit, queue, version := "fit", "?", "?"
		if !view.Member.Fit {
			fit = "unfit"
		}
		if info := view.Info; info != nil {
			version = info.Version
			if info.Queue != nil {
				queue = strconv.Itoa(info.Queue.Incoming + info.Queue.Active + info.Queue.Deferred)
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", visible(view.Member.Name), fit, max(view.Member.Weight, 1), queue, visible(version),
			visible(strings.Join(nodeStates(view), "; ")))
	}
	return table.Flush()
}

// nodeStates says in words what there is to know of a node, the worst first.
func nodeStates(view *aggregator.NodeView) (states []string) {
	add := func(text string) {
		for _, known := range states {
			if strings.Contains(known, text) {
				return
			}
		}
		states = append(states, text)
	}
	if view.Info == nil {
		add("does not answer: " + view.Answer.Error)
	}
	if !view.Member.Healthy {
		add(view.Member.Reason)
	}
	if view.Info != nil && view.Info.Drain != nil {
		add("draining: " + view.Info.Drain.Text)
	} else if !view.Member.Fit {
		add(view.Member.Unfit)
	}
	if len(states) == 0 {
		add("ok")
	}
	return states
}

// node prints what is known of one node, a fact a line.
func (s screen) node(view *aggregator.NodeView) error {
	table := tabwriter.NewWriter(s, 0, 0, 2, ' ', 0)
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, visible(text))
		}
	}
	row("node", view.Member.Name)
	row("state", strings.Join(nodeStates(view), "; "))
	row("node API", view.Member.API)
	row("takes mail of other nodes at", view.Member.Hop)
	if info := view.Info; info != nil {
		row("version", info.Version)
		row("host", info.Hostname)
		row("Postfix", info.Postfix)
		row("mail address", info.MailAddress)
		row("started", info.Started.Local().Format(time.DateTime))
		row("queue", queueText(info.Queue))
		row("drain", drainText(info.Drain))
		for _, check := range info.Checks {
			word := "ok: "
			if !check.OK {
				word = "FAILED: "
			}
			row("check "+check.Name, word+check.Text)
		}
	}
	return table.Flush()
}

func queueText(queue *fleet.Queue) string {
	if queue == nil {
		return "can't be read"
	}
	return fmt.Sprintf("%d incoming, %d active, %d deferred, %d on hold", queue.Incoming, queue.Active, queue.Deferred, queue.Hold)
}

func drainText(drain *fleet.Drain) string {
	if drain == nil {
		return ""
	}
	text := drain.Text + "; since " + drain.Since.Local().Format(time.DateTime)
	if drain.By != "" {
		text += ", by " + drain.By
	}
	if drain.Reason != "" {
		text += ": " + drain.Reason
	}
	return text
}
