package fleet

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFate(t *testing.T) {
	gone := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	of := func(statuses ...Status) (list []Recipient) {
		for _, s := range statuses {
			list = append(list, Recipient{Status: s})
		}
		return list
	}
	tests := []struct {
		name    string
		message Message
		want    Fate
		inQueue bool
	}{
		{"nothing known yet", Message{QueueID: "A"}, FateQueued, true},
		{"waiting", Message{QueueID: "A", Recipients: of(StatusQueued)}, FateQueued, true},
		{"one waits, one delivered", Message{QueueID: "A", Recipients: of(StatusDelivered, StatusDeferred)}, FateDeferred, true},
		{"held outweighs deferred", Message{QueueID: "A", Recipients: of(StatusHeld, StatusDeferred)}, FateHeld, true},
		{"delivered", Message{QueueID: "A", Removed: gone, Recipients: of(StatusDelivered, StatusDelivered)}, FateDelivered, false},
		{"a refused recipient doesn't spoil the rest", Message{QueueID: "A", Removed: gone,
			Recipients: of(StatusDelivered, StatusRejected)}, FateDelivered, false},
		{"partly", Message{QueueID: "A", Removed: gone, Recipients: of(StatusDelivered, StatusBounced)}, FatePartly, false},
		{"bounced", Message{QueueID: "A", Removed: gone, Recipients: of(StatusBounced, StatusExpired)}, FateBounced, false},
		{"rejected session", Message{Verdict: VerdictRejected, Recipients: of(StatusRejected)}, FateRejected, false},
		{"rejected before RCPT", Message{Verdict: VerdictTempfail}, FateRejected, false},
		{"aborted", Message{Verdict: VerdictAborted, Recipients: of(StatusUnknown)}, FateAborted, false},
		{"deleted", Message{QueueID: "A", Removed: gone, Recipients: of(StatusDeleted)}, FateDeleted, false},
		{"lost", Message{QueueID: "A", Removed: gone, Recipients: of(StatusUnknown)}, FateUnknown, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.message.Fate(); got != test.want {
				t.Errorf("fate %s, want %s", got, test.want)
			}
			if got := test.message.InQueue(); got != test.inQueue {
				t.Errorf("in queue %v, want %v", got, test.inQueue)
			}
		})
	}
}

func TestMessageIDSurvivesJSON(t *testing.T) {
	sent := Message{Node: "mx1", ID: 1795433969123456, Links: []Link{{Kind: LinkBounce, QueueID: "B", ID: 1795433969123457}},
		Openings: []EventID{0xfedcba9876543210}, FirstSeen: time.UnixMicro(1795433969123456).UTC()}
	text, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got Message
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("%s\n%s", diff, text)
	}
}

func TestParseMessageID(t *testing.T) {
	for _, bad := range []string{"", "0", "-5", "12a", "99999999999999999999", "1.5", " 7"} {
		if id, err := ParseMessageID(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: got %d, %v", bad, id, err)
		}
	}
	if id, err := ParseMessageID("1795433969123456"); err != nil || !id.Time().Equal(time.UnixMicro(1795433969123456)) {
		t.Errorf("got %d, %v", id, err)
	}
}

func TestAddressDomain(t *testing.T) {
	for address, want := range map[string]string{
		"a@Example.ORG": "example.org", "a@example.org.": "example.org", `"x@y"@b.example`: "b.example", "root": "", "": "", "@c.example": "c.example",
	} {
		if got := AddressDomain(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}
