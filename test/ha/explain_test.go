package ha

import (
	"net"
	"testing"
	"time"
)

// What explain takes for a reason, and what it doesn't.
func TestExplain(t *testing.T) {
	direct := []step{{"n1", "A1"}}
	again := []step{{"n2", "B1"}}
	throughTwo, throughThree := []step{{"n1", "A1"}, {"n2", "B2"}}, []step{{"n1", "A1"}, {"n3", "C2"}}
	lost := map[string][]byte{"n1": []byte("n1 postfix/smtp[9]: A1: to=<x>, status=deferred (lost connection with 127.43.0.2[127.43.0.2] " +
		"while sending end of data -- message may be sent more than once)\n")}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	started := map[string][]byte{"n1": []byte("Nov 23 12:00:04 n1 postfix-n1/master[7]: daemon started -- version 3.7.11\n")}
	first, second := &arrival{way: throughTwo, heard: true, lost: true, at: noon}, &arrival{way: throughThree, heard: true, at: noon.Add(7 * time.Second)}
	toFirst := attempt{server: net.JoinHostPort("10.99.0.11", "25"), cause: ambiguous}
	for _, c := range []struct {
		name   string
		path   string
		tries  []attempt
		copies []*arrival
		logs   map[string][]byte
		want   string
	}{
		{"twice for nothing", "DNS", nil, []*arrival{{way: direct, heard: true}, {way: direct, heard: true}}, nil, ""},
		{"remote server's reply lost", "DNS", nil, []*arrival{{way: direct}, {way: direct, heard: true}}, nil, "the remote server's reply got lost"},
		{"and carried then", "DNS", nil, []*arrival{{way: direct}, {way: throughTwo, heard: true}}, nil, "the remote server's reply got lost"},
		{"carried twice, reply lost", "DNS", nil, []*arrival{{way: throughTwo, heard: true}, {way: throughThree, heard: true}}, lost,
			"the reply of the next node got lost"},
		{"carried twice, no evidence", "DNS", nil, []*arrival{{way: throughTwo, heard: true}, {way: throughThree, heard: true}}, nil, ""},
		{"origin killed before it wrote it down", "DNS", nil, []*arrival{first, second}, started, "the origin was killed before it wrote the next node's reply down"},
		{"origin killed before it wrote it down, and delivers itself", "DNS", nil, []*arrival{first, {way: direct, heard: true, at: second.at}}, started,
			"the origin was killed before it wrote the next node's reply down"},
		{"origin wasn't killed", "DNS", nil, []*arrival{first, second}, nil, ""},
		{"origin was killed at another time", "DNS", nil, []*arrival{first, {way: throughThree, heard: true, at: noon.Add(2 * time.Second)}}, started, ""},
		{"origin knew", "DNS", nil, []*arrival{{way: throughTwo, heard: true, at: noon}, second}, started, ""},
		{"sender's reply lost", "DNS", []attempt{toFirst}, []*arrival{{way: direct, heard: true}, {way: again, heard: true}}, nil,
			"the fleet's reply to the sender got lost"},
		{"sender's reply lost at the balancer", "HAProxy", []attempt{{server: "10.99.0.20:25", cause: ambiguous}},
			[]*arrival{{way: direct, heard: true}, {way: again, heard: true}}, nil, "the fleet's reply to the sender got lost"},
		{"sender heard another node", "DNS", []attempt{{server: "10.99.0.13:25", cause: ambiguous}},
			[]*arrival{{way: direct, heard: true}, {way: again, heard: true}}, nil, ""},
		{"sender lost nothing", "DNS", []attempt{{server: "10.99.0.11:25", cause: hungUp}},
			[]*arrival{{way: direct, heard: true}, {way: again, heard: true}}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, _ := explain(&sent{path: c.path, attempts: c.tries}, c.copies, 1, c.logs); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
