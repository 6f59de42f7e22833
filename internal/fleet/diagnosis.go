package fleet

import "time"

// Grade is how a diagnostic check ended.
type Grade string

// The grades. GradeUnknown, "could not tell", is neither good nor bad: a resolver that doesn't answer says nothing of a record.
const (
	GradePass    Grade = "pass"
	GradeWarn    Grade = "warn"
	GradeFail    Grade = "fail"
	GradeNA      Grade = "na" // doesn't apply to this node
	GradeUnknown Grade = "unknown"
)

// Grades are all of them, the gravest first.
var Grades = []Grade{GradeFail, GradeUnknown, GradeWarn, GradePass, GradeNA}

// Graver tells whether g outweighs other where a check looks at several things: what failed is more than what could not be
// told, and that more than what is in order.
func (g Grade) Graver(other Grade) bool { return g.weight() < other.weight() }

func (g Grade) weight() int {
	for i, one := range Grades {
		if one == g {
			return i
		}
	}
	return 1 // a grade of a later version: could not tell
}

// Part is what a check found about one thing: a domain, an address, a setting. What it quotes is hostile text.
type Part struct {
	Subject  string   `json:"subject,omitempty"` // empty: the node
	Grade    Grade    `json:"grade"`
	Seen     string   `json:"seen"`               // one sentence
	Evidence []string `json:"evidence,omitempty"` // what was asked and answered, a line each
	Mend     []string `json:"mend,omitempty"`     // what to do, a line each: exact records and settings stand on lines of their own
}

// Finding is the result of one diagnostic check.
type Finding struct {
	Check string        `json:"check"` // its name, which stays over versions
	Title string        `json:"title"`
	Group string        `json:"group"`         // DNS, DKIM, Postfix, …
	Why   string        `json:"why"`           // why it matters
	Grade Grade         `json:"grade"`         // the gravest of the parts
	Was   Grade         `json:"was,omitempty"` // of the run before, where it was another
	Parts []Part        `json:"parts"`
	Took  time.Duration `json:"took_ns"`
}

// Cause says who had a diagnosis made.
type Cause string

// The causes.
const (
	CauseSchedule Cause = "schedule"
	CauseOperator Cause = "operator" // from the page or the JSON API
	CauseHost     Cause = "host"     // on the node itself
)

// Diagnosis is one run of all checks on one node.
type Diagnosis struct {
	Node     string    `json:"node"`
	Cause    Cause     `json:"cause"`
	By       string    `json:"by,omitempty"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"` // zero: it still runs, and Findings are those so far
	Total    int       `json:"total"`          // checks
	Findings []Finding `json:"findings"`       // in the order of the table of checks
	Egress   []Egress  `json:"egress,omitempty"`
	HELO     string    `json:"helo,omitempty"`
	Request  string    `json:"request,omitempty"` // of the command on the node that asked for it
}

// Count tells how many findings have a grade.
func (d *Diagnosis) Count(g Grade) (n int) {
	for i := range d.Findings {
		if d.Findings[i].Grade == g {
			n++
		}
	}
	return n
}

// Finding is that of one check, or nil.
func (d *Diagnosis) Finding(check string) *Finding {
	for i := range d.Findings {
		if d.Findings[i].Check == check {
			return &d.Findings[i]
		}
	}
	return nil
}

// Egress is an address from which a node's mail leaves, as remote servers see it.
type Egress struct {
	Address string `json:"address"`
	From    string `json:"from"`             // how it is known: configured, bound, seen by a remote server, or the host's own
	Unsure  bool   `json:"unsure,omitempty"` // one remote server alone says so
}

// Diagnoses are a node's latest diagnosis and what is left of those before.
type Diagnoses struct {
	Running *Diagnosis         `json:"running,omitempty"` // nil: none runs
	Latest  *Diagnosis         `json:"latest,omitempty"`  // nil: there was none yet
	History []DiagnosisOutline `json:"history,omitempty"` // newest first, Latest included
	Next    time.Time          `json:"next,omitzero"`     // when the next one is due; zero: only when asked for
}

// DiagnosisOutline is a past diagnosis in short.
type DiagnosisOutline struct {
	Started time.Time        `json:"started"`
	Ended   time.Time        `json:"ended"`
	Cause   Cause            `json:"cause"`
	By      string           `json:"by,omitempty"`
	Grades  map[string]Grade `json:"grades"` // by check
	Changes []GradeChange    `json:"changes,omitempty"`
}

// GradeChange is a check that ended in another way than in the run before.
type GradeChange struct {
	Check string `json:"check"`
	From  Grade  `json:"from"`
	To    Grade  `json:"to"`
}

// Peer is another node of the fleet as a diagnosis needs to know it.
type Peer struct {
	Name      string        `json:"name"`
	Egress    []string      `json:"egress,omitempty"`
	Selectors []Selector    `json:"selectors,omitempty"`
	Takes     *MailLimits   `json:"takes,omitempty"` // nil: not known
	Clock     time.Duration `json:"clock_ns"`        // its clock minus that of whoever says this
	Error     string        `json:"error,omitempty"`
}

// DiagnoseRequest asks a node for a run.
type DiagnoseRequest struct {
	ID     string   `json:"id,omitempty"` // comes back as Diagnosis.Request
	Cause  Cause    `json:"cause"`
	By     string   `json:"by,omitempty"`
	Checks []string `json:"checks,omitempty"` // only these; empty: all
	Fleet  []Peer   `json:"fleet,omitempty"`  // all nodes as the asker sees them, the asked one among them
	Hear   bool     `json:"hear,omitempty"`   // only take in Fleet, and begin nothing
}

// TestRequest asks a node to send a test message.
type TestRequest struct {
	To   string `json:"to"`
	From string `json:"from,omitempty"` // empty: postmaster of the node's first signing domain
	By   string `json:"by,omitempty"`
}

// TestMessage is a test message that a node's Postfix took.
type TestMessage struct {
	Node      string    `json:"node"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	MessageID string    `json:"message_id"` // without angle brackets
	QueueID   string    `json:"queue_id"`
	Sent      time.Time `json:"sent"`
	Reply     string    `json:"reply"` // Postfix's
}
