package fakefleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// faults are what the nodes' diagnostics find, besides what is in order.
var faults = map[string]map[string]fleet.Part{
	"mx2": {
		"ptr": {Subject: "203.0.113.12", Grade: fleet.GradeFail, Seen: "203.0.113.12 has no PTR record", Evidence: []string{"12.113.0.203.in-addr.arpa PTR: no such name"},
			Mend: []string{"Ask whoever provides the address (the reverse zone is theirs) for:", "12.113.0.203.in-addr.arpa. IN PTR mx2.corp.example."}},
		"queue": {Subject: "age", Grade: fleet.GradeWarn, Seen: "the oldest message has waited for 31h4m0s", Evidence: []string{"it came at 2026-11-22T09:12:40Z", "14×: connect to mx.slow.example[203.0.113.250]:25: Connection timed out"},
			Mend: []string{"See on the messages page (queue, oldest last) why; once the cause is gone:", "postqueue -f"}},
		"blocklist": {Subject: "203.0.113.12 on zen.spamhaus.org", Grade: fleet.GradeUnknown, Seen: "could not tell: the list refuses questions that come through a public resolver (127.255.255.254)",
			Evidence: []string{"12.113.0.203.zen.spamhaus.org A: 127.255.255.254"}, Mend: []string{"Ask the list through a resolver of your own (dns.resolvers), register with it where its terms want that, or take zen.spamhaus.org out of diagnose.blocklists."}},
	},
	"mx3": {
		"spf-fleet": {Subject: "shop.example", Grade: fleet.GradeFail, Seen: "the SPF record of shop.example lacks mx2 (203.0.113.12)",
			Evidence: []string{"mx1 203.0.113.11: pass", "mx2 203.0.113.12: fail", Hostile},
			Mend:     []string{"Publish, with the addresses of all nodes:", `shop.example. IN TXT "v=spf1 ip4:203.0.113.11 ip4:203.0.113.12 ip4:203.0.113.13 -all"`}},
		"capture": {Subject: "mode", Grade: fleet.GradeNA, Seen: "capture is off: conversations are reconstructed"},
	},
}

// Diagnoses are the node's, made up: some hours ago, and the day before.
func (n *Node) Diagnoses(context.Context) (*fleet.Diagnoses, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	if n.diagnoses == nil {
		n.diagnoses = pastDiagnoses(n.info.Name, time.Now().Add(-5*time.Hour))
	}
	answer := *n.diagnoses
	return &answer, nil
}

// Diagnose begins a run that makes a few checks and stays at that, for tests of what is shown meanwhile; the next call ends it.
func (n *Node) Diagnose(ctx context.Context, request fleet.DiagnoseRequest) (*fleet.Diagnoses, error) {
	if _, err := n.Diagnoses(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.diagnoses.Running != nil {
		n.diagnoses = pastDiagnoses(n.info.Name, time.Now())
		n.diagnoses.Latest.By = request.By
	} else {
		running := *n.diagnoses.Latest
		running.Started, running.Ended, running.Cause, running.By = time.Now(), time.Time{}, request.Cause, request.By
		running.Findings = slices.Clone(running.Findings[:7])
		n.diagnoses.Running = &running
	}
	answer := *n.diagnoses
	return &answer, nil
}

// SendTest makes a message as a test message is.
func (n *Node) SendTest(_ context.Context, request fleet.TestRequest) (*fleet.TestMessage, error) {
	from := request.From
	if from == "" {
		from = "postmaster@shop.example"
	}
	at := time.Now()
	n.mu.Lock()
	down, name := n.down, n.info.Name
	n.mu.Unlock()
	if down != nil {
		return nil, down
	}
	sent := &fleet.TestMessage{Node: name, From: from, To: request.To, QueueID: fmt.Sprintf("T%d", at.UnixMicro()%1e6), Sent: at,
		MessageID: fmt.Sprintf("postfleet-test.%s.%d@shop.example", name, at.UnixNano()), Reply: "250 2.0.0 Ok: queued"}
	n.Put(fleet.Message{ID: fleet.MessageIDAt(at), QueueID: sent.QueueID, FirstSeen: at, LastChange: at, Removed: at, Sender: from, Source: fleet.SourceNetwork,
		MessageID: sent.MessageID, Subject: "Test message from node " + name, Verdict: fleet.VerdictAccepted, OpenedByMilter: true, OpenedByLog: true,
		Signatures: []fleet.Signature{{Domain: "shop.example", Selector: name, Algorithm: "rsa-sha256"}},
		Recipients: []fleet.Recipient{{Address: request.To, Status: fleet.StatusDelivered, Attempts: []fleet.Attempt{{ID: fleet.EventID(at.UnixNano()), Time: at, Status: "sent", DSN: "2.0.0",
			Relay: "mx1.gmail.example[198.51.100.26]:25", RelayHost: "mx1.gmail.example", RelayAddr: "198.51.100.26", RelayPort: 25, TLS: tls13, Reply: "250 2.0.0 OK"}}}}})
	return sent, nil
}

func pastDiagnoses(node string, ended time.Time) *fleet.Diagnoses {
	latest := &fleet.Diagnosis{Node: node, Cause: fleet.CauseSchedule, Started: ended.Add(-9 * time.Second), Ended: ended, Total: len(diagnose.Table), HELO: node + ".corp.example",
		Egress: []fleet.Egress{{Address: "203.0.113.1" + node[2:], From: "seen by mx1.gmail.example[198.51.100.26]:25"}}}
	grades, before := map[string]fleet.Grade{}, map[string]fleet.Grade{}
	for _, check := range diagnose.Table {
		found := fleet.Finding{Check: check.Name, Title: check.Title, Group: string(check.Group), Why: check.Why, Grade: fleet.GradePass, Took: 12 * time.Millisecond,
			Parts: []fleet.Part{{Grade: fleet.GradePass, Seen: "as it should be"}}}
		if fault, there := faults[node][check.Name]; there {
			found.Grade, found.Parts = fault.Grade, []fleet.Part{fault}
		}
		before[check.Name] = found.Grade
		if check.Name == "ptr" && found.Grade == fleet.GradeFail {
			found.Was, before[check.Name] = fleet.GradePass, fleet.GradePass
		}
		grades[check.Name] = found.Grade
		latest.Findings = append(latest.Findings, found)
	}
	history := []fleet.DiagnosisOutline{{Started: latest.Started, Ended: ended, Cause: fleet.CauseSchedule, Grades: grades},
		{Started: ended.Add(-24 * time.Hour), Ended: ended.Add(-24 * time.Hour), Cause: fleet.CauseOperator, By: Operator, Grades: before}}
	if grades["ptr"] != before["ptr"] {
		history[0].Changes = []fleet.GradeChange{{Check: "ptr", From: before["ptr"], To: grades["ptr"]}}
	}
	return &fleet.Diagnoses{Latest: latest, History: history, Next: ended.Add(24 * time.Hour)}
}
