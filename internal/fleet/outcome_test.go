package fleet

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSentTLS(t *testing.T) {
	attempts := func(last Attempt) []Attempt {
		return []Attempt{{RelayHost: "mx.one.example", RelayAddr: "192.0.2.8", TLS: "Trusted TLSv1.3"}, last}
	}
	tests := map[string]struct {
		recipient Recipient
		want      string
	}{
		"with TLS": {Recipient{Status: StatusDelivered, Attempts: attempts(Attempt{RelayAddr: "192.0.2.9", TLS: "Trusted TLSv1.3"})}, TLSYes},
		"in clear": {Recipient{Status: StatusDelivered, Attempts: attempts(Attempt{RelayAddr: "192.0.2.9"})}, TLSNo},
		"through a socket": {Recipient{Status: StatusDelivered,
			Attempts: attempts(Attempt{RelayHost: "mx1.example.org", Relay: "mx1.example.org[private/lmtp]", Daemon: "lmtp"})}, ""},
		"locally":      {Recipient{Status: StatusDelivered, Attempts: attempts(Attempt{Relay: "local", Daemon: "local"})}, ""},
		"not yet":      {Recipient{Status: StatusDeferred, Attempts: attempts(Attempt{RelayAddr: "192.0.2.9", TLS: "Trusted TLSv1.3"})}, ""},
		"no attempt":   {Recipient{Status: StatusDelivered}, ""},
		"not at all":   {Recipient{Status: StatusBounced, Attempts: attempts(Attempt{RelayAddr: "192.0.2.9"})}, ""},
		"never queued": {Recipient{Status: StatusRejected}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.recipient.SentTLS(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	const reply = "550 5.1.1 <bob@one.example>: User unknown"
	want := map[Status]string{StatusBounced: "User unknown", StatusExpired: "User unknown", StatusRejected: "User unknown",
		StatusDeferred: "User unknown"}
	for _, status := range Statuses {
		if got := (&Recipient{Status: status, Reply: reply}).Refusal(); got != want[status] {
			t.Errorf("%s: got %q, want %q", status, got, want[status])
		}
		if got := (&Recipient{Status: status}).Refusal(); got != "" {
			t.Errorf("%s without a reply: got %q", status, got)
		}
	}
}

func TestRefusalReason(t *testing.T) {
	tests := map[string]string{
		"host mx.one.example[192.0.2.1] said: 550 5.1.1 <bob@one.example>: Recipient address rejected: User unknown (in reply to RCPT TO command)": "Recipient address rejected: User unknown (in reply to RCPT TO command)",
		"550 5.1.1 <carol@one.example>: Recipient address rejected: User unknown (in reply to RCPT TO command)":                                    "Recipient address rejected: User unknown (in reply to RCPT TO command)",
		"connect to mx.one.example[192.0.2.1]:25: Connection timed out":                                                                            "connect to Connection timed out",
		"554 \xff5.7.1 spam \x00or\xffvirus": "spam orvirus",
		"421":                                "no reason given",
		"":                                   "no reason given",
	}
	for reply, want := range tests {
		if got := RefusalReason(reply); got != want {
			t.Errorf("%q: got %q, want %q", reply, got, want)
		}
	}
}

// FuzzRefusalReason: whatever a server replied, its reason can be asked for, finds the recipient, and is the same after the
// reply has been through JSON, as the repository and the node API have it.
func FuzzRefusalReason(f *testing.F) {
	f.Add("host mx.one.example[192.0.2.1] said: 550 5.1.1 <bob@one.example>: User unknown (in reply to RCPT TO command)")
	f.Add("550 \xff\x00\u2028 ; nö " + string(make([]byte, 200)))
	f.Fuzz(func(t *testing.T, reply string) {
		if reply == "" {
			return
		}
		m := &Message{ID: 1, Recipients: []Recipient{{Status: StatusBounced, Reply: reply}}}
		q := Query{Reason: RefusalReason(reply)}
		again, err := ParseQuery(q.Values(), noon)
		if err != nil {
			t.Fatalf("%q: %v", q.Reason, err)
		}
		if diff := cmp.Diff(q, again); diff != "" {
			t.Fatalf("read again (-first +second):\n%s", diff)
		}
		stored, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var read Message
		if err := json.Unmarshal(stored, &read); err != nil {
			t.Fatal(err)
		}
		if !q.Match(m) || !q.Match(&read) {
			t.Fatalf("%q finds neither or one of %q and %q", q.Reason, reply, read.Recipients[0].Reply)
		}
	})
}
