package logsource

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// journalRemote turns export format into journal files, so that a real journalctl has something to read without systemd
// running.
const journalRemote = "/lib/systemd/systemd-journal-remote"

// testJournal is a journal directory that entries are added to.
type testJournal struct {
	t     *testing.T
	dir   string
	count int
}

func newTestJournal(t *testing.T) *testJournal {
	t.Helper()
	for _, program := range []string{"journalctl", journalRemote} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing: install systemd and systemd-journal-remote", program)
		}
	}
	return &testJournal{t: t, dir: t.TempDir()}
}

// add adds entries of the mail facility, one millisecond apart.
func (j *testJournal) add(messages ...string) {
	j.t.Helper()
	var export strings.Builder
	for _, message := range messages {
		j.count++
		fmt.Fprintf(&export, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=0123456789abcdef0123456789abcdef\n"+
			"_HOSTNAME=mx1\nSYSLOG_FACILITY=2\nSYSLOG_IDENTIFIER=postfix/smtp\nSYSLOG_PID=77\n_PID=1\n_SYSTEMD_UNIT=postfix@-.service\n",
			1764000000000000+j.count*1000, j.count*1000)
		export.WriteString("MESSAGE\n")
		export.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(message))))
		export.WriteString(message + "\n\n")
	}
	file := filepath.Join(j.dir, "add.export")
	if err := os.WriteFile(file, []byte(export.String()), 0o600); err != nil {
		j.t.Fatal(err)
	}
	if out, err := exec.Command(journalRemote, "-o", filepath.Join(j.dir, "test.journal"), file).CombinedOutput(); err != nil {
		j.t.Fatalf("%s: %v\n%s", journalRemote, err, out)
	}
}

func journalLine(n int, message string) string {
	return fmt.Sprintf("2025-11-24T16:00:00.%06dZ mx1 postfix/smtp[77]: %s", n*1000, message)
}

func TestJournalFollows(t *testing.T) {
	t.Parallel()
	journal := newTestJournal(t)
	journal.add("one", "two \xff\x01 binary", strings.Repeat("l", 9000))
	f := newFollower(t, NewJournal(JournalOptions{Directory: journal.dir}))
	f.start()
	want := []string{journalLine(1, "one"), journalLine(2, "two \xff\x01 binary"), journalLine(3, strings.Repeat("l", 9000))}
	f.waitFor(want...)
	journal.add("four", "with\nline end")
	want = append(want, journalLine(4, "four"), journalLine(5, "with line end"))
	f.waitFor(want...)
	f.stop()
	journal.add("six")
	f.start()
	f.waitFor(append(want, journalLine(6, "six"))...)
	if state := f.source.State(); state.Source != "journal" || state.Error != "" || state.Lines != 6 {
		t.Errorf("state: %+v", state)
	}
}

func TestJournalSelects(t *testing.T) {
	t.Parallel()
	journal := newTestJournal(t)
	journal.add("one")
	f := newFollower(t, NewJournal(JournalOptions{Directory: journal.dir, Matches: []string{"SYSLOG_IDENTIFIER=postfix/smtp"}}))
	f.start()
	f.waitFor(journalLine(1, "one"))
	f.stop()
	g := newFollower(t, NewJournal(JournalOptions{Directory: journal.dir, Matches: []string{"SYSLOG_FACILITY=3", "+", "MESSAGE=two"}}))
	g.start()
	journal.add("two")
	g.waitFor(journalLine(2, "two"))
}

// stub is a journalctl that does as the test says; it notes its arguments.
func stub(t *testing.T, script string) (command, notes string) {
	t.Helper()
	dir := t.TempDir()
	command, notes = filepath.Join(dir, "journalctl"), filepath.Join(dir, "notes")
	script = "#!/bin/sh\necho \"$*\" >>" + notes + "\ncount=$(wc -l <" + notes + ")\n" + script
	if err := os.WriteFile(command, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return command, notes
}

func quickJournal(command string) *Journal {
	j := NewJournal(JournalOptions{Command: command})
	j.retry = backoff{first: time.Millisecond, last: 5 * time.Millisecond}
	return j
}

// A child that ends is started again behind the last entry that was stored; a broken entry and a huge one are passed
// over.
func TestJournalRestarts(t *testing.T) {
	t.Parallel()
	command, notes := stub(t, `
entry() { echo '{"__CURSOR":"s='$1'","__REALTIME_TIMESTAMP":"1764000000000000","MESSAGE":"'$2'","SYSLOG_IDENTIFIER":["postfix/smtp","x"],"_PID":"9"}'; }
case $count in
1) entry 1 one; echo "{broken"; entry 2 two; echo "No space left on device" >&2; exit 1 ;;
2) head -c 400000 /dev/zero | tr '\0' x; echo; entry 3 three ;;
3) entry 4 four; echo '{"__CURSOR":"s=5","__REALTIME_TIMESTAMP":"1764000000000000","MESSAGE":null}' ;;
*) exec sleep 60 ;;
esac
`)
	f := newFollower(t, quickJournal(command))
	f.start()
	line := func(message string) string {
		return "2025-11-24T16:00:00.000000Z localhost postfix/smtp[9]: " + message
	}
	f.waitFor(line("one"), line("two"), line("three"), line("four"))
	until(t, func() bool {
		content, err := os.ReadFile(notes)
		return err == nil && strings.Count(string(content), "\n") == 4
	})
	f.stop()
	content, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	calls := strings.Split(strings.TrimSpace(string(content)), "\n")
	for i, want := range []string{"--no-tail SYSLOG_FACILITY=2", "--after-cursor=s=2 ", "--after-cursor=s=3 ", "--after-cursor=s=5 "} {
		if !strings.Contains(calls[i], want) {
			t.Errorf("call %d was %q, without %q", i+1, calls[i], want)
		}
	}
}

func TestJournalFails(t *testing.T) {
	t.Parallel()
	missing := newFollower(t, quickJournal("/nonexistent/journalctl"))
	missing.start()
	until(t, func() bool { return strings.Contains(missing.source.State().Error, "start /nonexistent/journalctl") })

	command, _ := stub(t, "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
	refused := newFollower(t, quickJournal(command))
	refused.start()
	until(t, func() bool { return strings.Contains(refused.source.State().Error, "insufficient permissions") })
}

// A file's cursor says only that the lines before were read elsewhere.
func TestJournalForeignCursor(t *testing.T) {
	t.Parallel()
	command, notes := stub(t, "exec sleep 60")
	f := newFollower(t, quickJournal(command))
	f.cursor = position{Offset: 7}.String()
	f.start()
	until(t, func() bool {
		content, err := os.ReadFile(notes)
		return err == nil && strings.Contains(string(content), "--lines=0")
	})
}
