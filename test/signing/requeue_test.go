package signing

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// TestRequeued: what an administrator puts back into the queue passes the milter again, and leaves with one signature of each
// key, made of the message as it is then.
func TestRequeued(t *testing.T) {
	s := startSite(t, map[string]string{"defer_transports": "smtp"})
	signer := s.sign(t, s.options())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func(command ...string) {
		t.Helper()
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
		}
	}
	// requeued waits until pickup(8) has taken the message in again, so many times, and it is deferred.
	requeued := func(times int) {
		t.Helper()
		err := lab.Until(ctx, func(ctx context.Context) error {
			content, err := s.postfix.LogContent()
			if err != nil {
				return err
			}
			if n := bytes.Count(content, []byte(" orig_id=")); n != times {
				return fmt.Errorf("taken in again %d times, want %d", n, times)
			}
			queue, err := s.postfix.Queue(ctx)
			if err == nil && (len(queue) != 1 || queue[0].QueueName != "deferred") {
				err = fmt.Errorf("queue %+v", queue)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	arrived := s.send(t, letter{content: "From: anna@example.com\r\nSubject: again\r\n\r\nx\r\n"})
	for times := range 3 {
		requeued(times)
		if times < 2 {
			run("postsuper", "-c", s.postfix.Conf, "-r", "ALL", "deferred")
		}
	}
	run("postconf", "-c", s.postfix.Conf, "-e", "defer_transports=")
	run("postfix", "-c", s.postfix.Conf, "reload")
	run("postqueue", "-c", s.postfix.Conf, "-f")
	message := arrived()
	if n := bytes.Count(message, []byte("DKIM-Signature:")); n != 2 {
		t.Errorf("%d signatures:\n%s", n, message)
	}
	newVerifiers(t, signer.Keys()).check(t, map[string][]byte{"requeued": message}, func(string) bool { return false })
}
