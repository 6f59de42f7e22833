package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var messageID = Check{
	Name: "message-id", Title: "Message-ID and Date of recent mail", Group: GroupOut,
	Why: "Receivers throw away a second mail with the Message-ID of a first, and mark mail without one, or with a Date that is missing or far off (RFC 5322 section 3.6).",
	Run: func(ctx context.Context, f *Facts) []fleet.Part {
		if f.Recent == nil {
			return nil
		}
		recent, err := f.Recent(ctx)
		if err != nil {
			return []fleet.Part{*unknown("", err.Error())}
		}
		if recent.Messages == 0 {
			return []fleet.Part{part("", fleet.GradeNA, "no mail came lately")}
		}
		return []fleet.Part{repeated(recent), withoutID(recent), dates(recent)}
	},
}

func repeated(recent *Recent) fleet.Part {
	p := part("duplicates", fleet.GradePass, "no Message-ID comes twice in %s", plural(recent.Messages, "recent message", "recent messages"))
	if len(recent.Again) > 0 {
		p.Grade, p.Seen = fleet.GradeFail, plural(len(recent.Again), "Message-ID was", "Message-IDs were")+" used for more than one mail"
		for _, again := range recent.Again {
			p.Evidence = append(p.Evidence, fmt.Sprintf("<%s>: %s", again.MessageID, strings.Join(again.Queue, ", ")))
		}
		p.Mend = []string{"Find the program that sends them (the messages page filters by Message-ID) and have it make one up for each mail, or leave it out: Postfix adds one where it is missing."}
	}
	return p
}

func withoutID(recent *Recent) fleet.Part {
	p := part("missing", fleet.GradePass, "every message has a Message-ID")
	if recent.NoID > 0 {
		p.Grade, p.Seen = fleet.GradeWarn, plural(recent.NoID, "message has", "messages have")+" no Message-ID"
		p.Mend = []string{"Let Postfix add it to mail from everywhere, then reload:", "postconf -e 'always_add_missing_headers = yes'", reload}
	}
	return p
}

func dates(recent *Recent) fleet.Part {
	if recent.Dates == 0 && len(recent.BadDates) == 0 {
		return part("Date", fleet.GradeNA, "no Date was recorded")
	}
	p := part("Date", fleet.GradePass, "every message has a Date near the time at which it came")
	if len(recent.BadDates) > 0 {
		p.Grade, p.Seen = fleet.GradeWarn, plural(len(recent.BadDates), "message has", "messages have")+" a wrong Date"
		for _, bad := range recent.BadDates {
			p.Evidence = append(p.Evidence, bad.QueueID+" of <"+bad.From+">: "+bad.Why)
		}
		p.Mend = []string{"Set the clock of the host that sends them, or have its program write the Date as RFC 5322 asks: Mon, 23 Nov 2026 16:00:00 +0000."}
	}
	return p
}
