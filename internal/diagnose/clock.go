package diagnose

import (
	"context"
	"fmt"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

var clock = Check{
	Name: "clock", Title: "Clock against the other nodes", Group: GroupHost,
	Why: "Signatures and certificates are judged by the clock, receivers mark mail from the future, and the fleet's list is sorted by it.",
	Run: func(_ context.Context, f *Facts) []fleet.Part { return []fleet.Part{f.held(), f.apart()} },
}

// farApart is a clock that breaks things: certificates and signatures are judged to the minute.
const farApart = time.Minute

// clockKnown is for how long a comparison of clocks says something.
const clockKnown = 15 * time.Minute

func (f *Facts) held() fleet.Part {
	if f.Sync == nil {
		return part("time service", fleet.GradeNA, "this system doesn't tell")
	}
	synced, err := f.Sync()
	switch {
	case err != nil:
		return *unknown("time service", err.Error())
	case !synced:
		p := part("time service", fleet.GradeWarn, "the kernel says that nothing holds the clock")
		p.Mend = []string{"Run a time service:", "apt install chrony", "or", "timedatectl set-ntp true"}
		return p
	}
	return part("time service", fleet.GradePass, "the kernel's clock is held by a time service")
}

func (f *Facts) apart() fleet.Part {
	const subject = "other nodes"
	if len(f.others()) == 0 {
		p := f.alone()
		p.Subject = subject
		return *p
	}
	// Clocks are told as differences to whoever asked all nodes; so ours is one of them.
	var own time.Duration
	known := false
	for _, peer := range f.Peers {
		if peer.Name == f.Node && peer.Error == "" {
			own, known = peer.Clock, true
		}
	}
	if !known {
		return *unknown(subject, "nobody has compared this node's clock with the others' yet")
	}
	if !f.PeersSeen.IsZero() && f.Now().Sub(f.PeersSeen) > clockKnown {
		return *unknown(subject, "the clocks were compared last at "+f.PeersSeen.UTC().Format(time.RFC3339))
	}
	p := part(subject, fleet.GradePass, "")
	var largest time.Duration
	ahead := 0
	compared := 0
	for _, peer := range f.others() {
		if peer.Error != "" {
			p.Evidence = append(p.Evidence, peer.Name+": "+peer.Error)
			continue
		}
		apart := own - peer.Clock
		compared++
		p.Evidence = append(p.Evidence, fmt.Sprintf("%s: %s", peer.Name, signed(apart)))
		if apart.Abs() > f.Limits.Clock {
			ahead++
		}
		largest = max(largest, apart.Abs())
	}
	p.Evidence = append(p.Evidence, f.seenPeers())
	if compared == 0 {
		q := *unknown(subject, "no other node answered")
		q.Evidence = p.Evidence
		return q
	}
	p.Seen = "within " + largest.Round(time.Millisecond).String() + " of the other nodes"
	// A clock that differs from most of the others is the one that is wrong.
	if ahead*2 > compared || ahead > 0 && compared == 1 {
		p.Grade, p.Seen = fleet.GradeWarn, fmt.Sprintf("%s from the clocks of %s", largest.Round(time.Millisecond), plural(ahead, "other node", "other nodes"))
		if largest > farApart {
			p.Grade = fleet.GradeFail
		}
		p.Mend = []string{"Set the clock and keep it so:", "chronyc makestep", "timedatectl set-ntp true"}
	}
	return p
}

func signed(d time.Duration) string {
	d = d.Round(time.Millisecond)
	switch {
	case d > 0:
		return "this node is " + d.String() + " ahead"
	case d < 0:
		return "this node is " + (-d).String() + " behind"
	}
	return "the same"
}
