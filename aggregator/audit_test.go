package aggregator

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

func TestAudit(t *testing.T) {
	ts := startServer(t)
	ts.fill()
	client := ts.browser()
	ts.signIn(client, "vera", "wrong")
	ts.signIn(client, "vera", testPassword)
	ts.get(client, apiPrefix+"/messages?sender=@example.org")
	ts.get(client, apiPrefix+"/messages/a/5")
	ts.get(client, apiPrefix+"/messages/a/5/transcripts")
	ts.get(client, apiPrefix+"/export")
	ts.get(client, apiPrefix+"/audit")
	ts.withToken(accounts.Operator, apiPrefix+"/nodes")
	ts.get(ts.browser(), apiPrefix+"/nodes", "Authorization", "Bearer x")
	ts.do(client, ts.request(http.MethodPost, "/logout", ""))
	got := ts.audited()
	slices.Reverse(got)
	who := func(e Entry) Entry {
		e.User, e.Role, e.Address = "vera", "viewer", "127.0.0.1"
		return e
	}
	want := []Entry{
		{Action: ActionSignInFailed, User: "vera", Address: "127.0.0.1", Note: "password"},
		who(Entry{Action: ActionSignIn}),
		who(Entry{Action: ActionMessages, Query: "sender=@example.org", Note: "api_messages"}),
		who(Entry{Action: ActionMessage, Node: "a", Message: "5", Note: "api_message"}),
		who(Entry{Action: ActionTranscript, Node: "a", Message: "5", Note: "api_transcripts"}),
		who(Entry{Action: ActionExport, Note: "api_export"}),
		who(Entry{Action: ActionRefused, Note: "api_audit"}),
		{Action: ActionToken, User: "token-operator", Role: "operator", Token: true, Address: "127.0.0.1", Note: "api_nodes"},
		{Action: ActionTokenFailed, Address: "127.0.0.1"},
		who(Entry{Action: ActionSignOut}),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Entry{}, "Time", "Request")); diff != "" {
		t.Error(diff)
	}
	for _, e := range got {
		if e.Request == "" || time.Since(e.Time) > time.Minute {
			t.Errorf("entry without request or time: %+v", e)
		}
	}
	info, err := os.Stat(filepath.Join(ts.dir, "audit"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// An audit log that can't be written stops nobody, and is not kept quiet.
func TestAuditFails(t *testing.T) {
	log, out := logBuffer()
	ts := startServer(t, func(o *Options) { o.Log = log })
	client := ts.signedIn(accounts.Viewer)
	ts.auditLog.mu.Lock()
	ts.auditLog.file.Close()
	ts.auditLog.mu.Unlock()
	if got := ts.get(client, apiPrefix+"/messages"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if !strings.Contains(out.String(), "audit entry not written") || !strings.Contains(out.String(), `"view_messages"`) {
		t.Error("the entry is in no log")
	}
	if err := ts.Reload(); err != nil { // opened anew, as after a rotation
		t.Fatal(err)
	}
	ts.get(client, apiPrefix+"/messages")
	if got := ts.audited(); got[0].Action != ActionMessages {
		t.Errorf("after the reload: %+v", got)
	}
}

// Whoever knocks without end can't fill the disk with audit entries.
func TestStrangersFillNoDisk(t *testing.T) {
	ts := startServer(t)
	client := ts.browser()
	const knocks = 3 * maxStranger
	for range knocks {
		ts.get(client, apiPrefix+"/nodes", "Authorization", "Bearer x")
	}
	if n := len(ts.audited()); n < maxStranger || n > maxStranger+3 {
		t.Errorf("%d entries for %d knocks", n, knocks)
	}
}
