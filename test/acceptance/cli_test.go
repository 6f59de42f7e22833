package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// The command line asks the same aggregator: trace tells the way of a message, tail shows changes as they happen.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 2*time.Minute)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 2})
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = append(os.Environ(), "POSTFLEET_URL="+f.Aggregator.URL, "POSTFLEET_TOKEN="+f.Aggregator.Token)
		return cmd
	}
	tail := command("tail", "--json", "--recipient", "tailed@accept.example")
	out, err := tail.StdoutPipe()
	must(t, err)
	must(t, tail.Start())
	defer func() {
		_ = tail.Process.Kill()
		_ = tail.Wait()
	}()
	seen := make(chan error, 1)
	id := lab.NewID()
	go func() { seen <- delivered(out, id) }()

	mail := lab.Mail{From: "orders@shop.example", To: []string{"tailed@accept.example", "eva@norcpt.example"}, Subject: "trace me", ID: id}
	queueID := ""
	lab.Await(t, ctx, func(ctx context.Context) error { // tail shows what happens once it has connected
		outcomes, err := lab.Client{}.Send(ctx, f.Nodes[1].Postfix.Addr, mail)
		must(t, err)
		queueID = outcomes[0].QueueID
		select {
		case err := <-seen:
			return err
		case <-time.After(time.Second):
			return errors.New("tail shows nothing")
		}
	})
	for _, args := range [][]string{{queueID}, {id}, {"orders@shop.example", "tailed@accept.example"}} {
		lab.Await(t, ctx, func(context.Context) error { // the second recipient's fate may come later
			text, err := command(append([]string{"trace", "--transcript"}, args...)...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("trace %v: %w\n%s", args, err, text)
			}
			for _, want := range []string{queueID, "n2", "eva@norcpt.example", "550 5.1.1 No such user here",
				"MAIL FROM:<orders@shop.example>", "captured"} {
				if !strings.Contains(string(text), want) {
					return fmt.Errorf("trace %v lacks %q:\n%s", args, want, text)
				}
			}
			return nil
		})
	}
	if err := command("trace", "NOSUCHID").Run(); err == nil {
		t.Error("trace of a message that isn't there: exit status 0")
	}
}

// delivered reads what tail prints until the message has reached its first recipient.
func delivered(out io.Reader, id string) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m fleet.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return err
		}
		if m.MessageID == id && m.Node == "n2" && m.Count(func(s fleet.Status) bool { return s == fleet.StatusDelivered }) == 1 {
			return nil
		}
	}
	return errors.Join(errors.New("tail ended"), lines.Err())
}
