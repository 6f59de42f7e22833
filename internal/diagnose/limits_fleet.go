package diagnose

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var limitsFleet = Check{
	Name: "limits-fleet", Title: "All nodes take the same mail", Group: GroupPostfix, Needs: []Need{NeedFleet},
	Why: "What one node took and the node that carries it doesn't take, since it is too large or has addresses beyond ASCII, comes back to its sender as a " +
		"bounce. Without relaying a client is refused by one node and not by the next.",
	Run: func(_ context.Context, f *Facts) []fleet.Part {
		if f.Takes == nil {
			return []fleet.Part{*unknown("", "what Postfix takes can't be read: "+first(f.PostfixProblem, "postconf gave no answer"))}
		}
		return []fleet.Part{f.sameLimit("message size", sizeGap, f.sizeMend()), f.sameLimit("SMTPUTF8", utf8Gap, utf8Mend)}
	},
}

// gap says what one node takes and another one doesn't; empty: there is nothing of the kind.
type gap func(takes, lacks *fleet.MailLimits) string

func sizeGap(takes, lacks *fleet.MailLimits) string {
	if !lacks.Smaller(takes) {
		return ""
	}
	return "mail larger than " + strconv.FormatUint(lacks.Size, 10) + " bytes"
}

func utf8Gap(takes, lacks *fleet.MailLimits) string {
	if !takes.UTF8 || lacks.UTF8 {
		return ""
	}
	return "mail with addresses beyond ASCII"
}

// sameLimit holds one limit of this node against those of the others. A gap is a failure where mail falls into it on its way
// through the fleet.
func (f *Facts) sameLimit(subject string, missing gap, mend []string) fleet.Part {
	p := part(subject, fleet.GradePass, "the same on this node and %s", plural(len(f.others()), "other node", "other nodes"))
	p.Evidence = []string{f.seenPeers(), f.Node + ": " + takesWords(f.Takes)}
	var fails, warns, doubtful []string
	compare := func(origin, carrier string, takes, lacks *fleet.MailLimits) {
		switch what := missing(takes, lacks); {
		case what == "":
		case f.Relay.Hands(origin, carrier):
			fails = append(fails, what+" from "+origin+" bounces where "+carrier+" carries it")
		default:
			warns = append(warns, carrier+" refuses "+what+", and "+origin+" takes it")
		}
	}
	for _, peer := range f.others() {
		if peer.Takes == nil {
			doubtful = append(doubtful, peer.Name+" ("+first(peer.Error, "its version doesn't tell")+")")
			continue
		}
		p.Evidence = append(p.Evidence, peer.Name+": "+takesWords(peer.Takes))
		compare(f.Node, peer.Name, f.Takes, peer.Takes)
		compare(peer.Name, f.Node, peer.Takes, f.Takes)
	}
	switch {
	case len(fails) > 0:
		p.Grade, p.Seen, p.Mend = fleet.GradeFail, strings.Join(append(fails, warns...), "; "), mend
	case len(doubtful) > 0:
		p.Grade, p.Seen = fleet.GradeUnknown, "could not tell for "+strings.Join(append(doubtful, warns...), "; ")
	case len(warns) > 0:
		p.Grade, p.Seen, p.Mend = fleet.GradeWarn, strings.Join(warns, "; "), mend
	}
	return p
}

func takesWords(l *fleet.MailLimits) string {
	size, utf8 := "any size", "no SMTPUTF8"
	if l.Size > 0 {
		size = fmt.Sprintf("up to %d bytes", l.Size)
	}
	if l.UTF8 {
		utf8 = "SMTPUTF8"
	}
	return size + ", " + utf8
}

// sizeMend is the largest limit that any node has.
func (f *Facts) sizeMend() []string {
	largest := f.Takes
	for _, peer := range f.others() {
		if peer.Takes != nil && largest.Smaller(peer.Takes) {
			largest = peer.Takes
		}
	}
	return []string{"Set the same on every node, then reload:", "postconf -e 'message_size_limit = " + strconv.FormatUint(largest.Size, 10) + "'", reload}
}

var utf8Mend = []string{"Set the same on every node, then reload:", "postconf -e 'smtputf8_enable = yes'", reload,
	"Where postconf -d smtputf8_enable says no, Postfix was built without it. Then either install one that has it, or switch it off on the others:",
	"postconf -e 'smtputf8_enable = no'"}
