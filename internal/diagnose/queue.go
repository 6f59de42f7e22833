package diagnose

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

var queue = Check{
	Name: "queue", Title: "Queue, size and age", Group: GroupHost,
	Why: "Mail that waits is the first sign of a block, of a dead next hop, or of an account that somebody floods through.",
	Run: func(ctx context.Context, f *Facts) []fleet.Part {
		if f.Queue == nil {
			return []fleet.Part{*unknown("", "the queue can't be read")}
		}
		q, err := f.Queue(ctx)
		if err != nil {
			return []fleet.Part{*unknown("", err.Error())}
		}
		return []fleet.Part{f.size(q), f.age(q)}
	},
}

// far is how many times over a limit is a failure and no warning any more.
const far = 5

func (f *Facts) size(q *Queue) fleet.Part {
	p := part("size", fleet.GradePass, "%s wait, %d of them after a failed attempt", plural(q.Messages, "message", "messages"), q.Deferred)
	p.Evidence = append([]string{"from " + q.From}, q.Reasons...)
	if q.Messages > f.Limits.QueueSize {
		p.Grade = fleet.GradeWarn
		if q.Messages > far*f.Limits.QueueSize {
			p.Grade = fleet.GradeFail
		}
		p.Mend = []string{"See on the messages page (queue) what they have in common: one sender that floods, or one destination that doesn't take mail. For a sender:",
			"postsuper -h QUEUE-ID", "for a destination that is back:", "postqueue -s example.net"}
	}
	return p
}

func (f *Facts) age(q *Queue) fleet.Part {
	if q.Oldest.IsZero() {
		return part("age", fleet.GradePass, "nothing waits")
	}
	age := f.Now().Sub(q.Oldest)
	p := part("age", fleet.GradePass, "the oldest message has waited for %s", age.Round(time.Second))
	p.Evidence = []string{"it came at " + q.Oldest.UTC().Format(time.RFC3339)}
	if age > f.Limits.QueueAge {
		p.Grade = fleet.GradeWarn
		if life := f.lifetime(); life > 0 && age > life*4/5 {
			p.Grade = fleet.GradeFail
			p.Seen += ", and is given up after " + days(life)
		}
		p.Evidence = append(p.Evidence, q.Reasons...)
		p.Mend = []string{"See on the messages page (queue, oldest last) why; once the cause is gone:", "postqueue -f"}
	}
	return p
}

// lifetime is how long Postfix keeps trying; zero: not known.
func (f *Facts) lifetime() time.Duration {
	if f.Postfix == nil {
		return 0
	}
	return postfixTime(f.Postfix.Main("maximal_queue_lifetime"))
}

// postfixTime reads a time as Postfix writes it: a number with s, m, h, d or w behind it; without one it is of days here.
func postfixTime(text string) time.Duration {
	const day = 24 * 60 * 60
	units := map[byte]int64{'s': 1, 'm': 60, 'h': 60 * 60, 'd': day, 'w': 7 * day} // seconds
	if text == "" {
		return 0
	}
	unit, has := units[text[len(text)-1]]
	if has {
		text = text[:len(text)-1]
	} else {
		unit = units['d']
	}
	var n int64
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || n > 1e6 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return time.Duration(n*unit) * time.Second
}
