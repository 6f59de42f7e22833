package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

const (
	kills   = 10
	senders = 4
)

// The node daemon is killed with SIGKILL ten times at random moments while mail flows. No mail is lost or leaves
// unsigned, and the repository has every event once: it says what `postfleet replay` makes of the whole log, which knows
// nothing of the repository.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 4*time.Minute)
	_, f, world := startFleet(t, ctx, lab.FleetOptions{Nodes: 1, Retry: time.Hour})
	node := f.Nodes[0]

	stop := make(chan struct{})
	var load sync.WaitGroup
	accepted := make([]map[string]bool, senders) // Message-IDs
	for i := range senders {
		accepted[i] = map[string]bool{}
		load.Go(func() { sendUntil(ctx, t, stop, node.Postfix, accepted[i]) })
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range kills {
		running, cancel := context.WithTimeout(ctx, 100*time.Millisecond+time.Duration(random.Int64N(int64(900*time.Millisecond))))
		<-running.Done()
		cancel()
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := node.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	load.Wait()
	if err := node.Postfix.Drained(ctx); err != nil {
		t.Fatal(err)
	}
	sent := map[string]bool{}
	for _, ids := range accepted {
		for id := range ids {
			sent[id] = true
		}
	}
	t.Logf("%d messages accepted around %d kills", len(sent), kills)
	if len(sent) < 10*kills {
		t.Errorf("only %d messages were accepted: not much of a load", len(sent))
	}
	t.Run("mail", func(t *testing.T) { checkDelivered(t, world.Taps["accept.example"].Taken(), sent) })
	t.Run("events", func(t *testing.T) { checkAgainstReplay(t, ctx, f, sent) })
}

// sendUntil sends mail until stop closes and notes what Postfix accepted. A message that was refused for the moment is
// sent again, as a mail server would; one that a broken connection left unclear isn't counted.
func sendUntil(ctx context.Context, t *testing.T, stop <-chan struct{}, p *lab.Postfix, accepted map[string]bool) {
	for ctx.Err() == nil {
		select {
		case <-stop:
			return
		default:
		}
		mail := lab.Mail{From: "orders@shop.example", To: []string{"bob@accept.example", "max@defer.example"}, Subject: "load",
			Text: strings.Repeat("line of text\n", 100), ID: lab.NewID()}
		outcomes, err := lab.Client{}.Send(ctx, p.Addr, mail)
		if err != nil && ctx.Err() == nil {
			t.Errorf("send: %v", err)
		}
		if len(outcomes) == 1 && outcomes[0].QueueID != "" {
			accepted[mail.ID] = true
		}
	}
}

// checkDelivered: every accepted message reached the far end once, and nothing did unsigned.
func checkDelivered(t *testing.T, taken []lab.Taken, sent map[string]bool) {
	arrived := map[string]int{}
	for _, mail := range taken {
		header, _, _ := bytes.Cut(mail.Content, []byte("\r\n\r\n"))
		_, after, _ := bytes.Cut(header, []byte("Message-ID: <"))
		id, _, _ := bytes.Cut(after, []byte(">"))
		arrived[string(id)]++
		if n := bytes.Count(header, []byte("DKIM-Signature:")); n != 2 {
			t.Errorf("message %s left with %d signatures, want RSA and Ed25519", id, n)
		}
	}
	for id := range sent {
		if arrived[id] != 1 {
			t.Errorf("message %s was accepted once and arrived %d times", id, arrived[id])
		}
	}
	for id := range arrived {
		if !sent[id] {
			t.Errorf("message %s arrived without having been accepted", id)
		}
	}
}

// account is what is compared of a message between the repository and the replayed log.
type account struct {
	MessageID  string
	Removed    bool
	Recipients map[string]string // address to status, attempts and reply
}

// add leaves out recipients of a message that Postfix refused because the daemon died before its answer: the log names one
// of them, the record of the daemon, where it got that far, all.
func (a account) add(address, status string, attempts int, reply string) {
	if attempts > 0 || status != string(fleet.StatusRejected) {
		a.Recipients[address] = fmt.Sprint(status, " ", attempts, " ", reply)
	}
}

func checkAgainstReplay(t *testing.T, ctx context.Context, f *lab.Fleet, sent map[string]bool) {
	replayed, err := replay(ctx, f.Nodes[0].Postfix.Log)
	if err != nil {
		t.Fatal(err)
	}
	api := fleetAPI{f.Aggregator}
	recorded := map[string]bool{}
	settled, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	lab.Await(t, settled, func(ctx context.Context) error {
		messages, err := api.messages(ctx, url.Values{})
		if err != nil {
			return err
		}
		accounts := map[string]account{}
		clear(recorded)
		for i := range messages {
			m := &messages[i]
			if !m.OpenedByLog {
				continue // the daemon died between its record and its reply, so Postfix refused the message
			}
			if _, twice := accounts[m.QueueID]; twice {
				return fmt.Errorf("queue id %s is there twice", m.QueueID)
			}
			a := account{MessageID: m.MessageID, Removed: !m.Removed.IsZero(), Recipients: map[string]string{}}
			for _, r := range m.Recipients {
				a.add(r.Address, string(r.Status), len(r.Attempts), r.Reply)
			}
			accounts[m.QueueID] = a
			recorded[m.MessageID] = m.Verdict == fleet.VerdictAccepted && len(m.Signatures) == 2 && m.Inbound
		}
		if diff := cmp.Diff(replayed, accounts); diff != "" {
			return fmt.Errorf("log (-replayed +repository):\n%.4000s", diff)
		}
		return nil
	})
	for id := range sent {
		if !recorded[id] {
			t.Errorf("message %s: no record of the milter's", id)
		}
	}
}

// replay reads the log with `postfleet replay`, which uses no repository.
func replay(ctx context.Context, log string) (map[string]account, error) {
	out, err := exec.CommandContext(ctx, binary, "replay", log).Output()
	if err != nil {
		return nil, err
	}
	accounts := map[string]account{}
	decoder := json.NewDecoder(bufio.NewReader(bytes.NewReader(out)))
	for {
		var m struct {
			QueueID    string     `json:"queue_id"`
			MessageID  string     `json:"message_id"`
			Removed    *time.Time `json:"removed"`
			Recipients []struct {
				To, Status, Reply string
				Attempts          int
			} `json:"recipients"`
		}
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return accounts, nil
		} else if err != nil {
			return nil, err
		}
		if m.QueueID == "" {
			continue // refused before it had one
		}
		a := account{MessageID: m.MessageID, Removed: m.Removed != nil, Recipients: map[string]string{}}
		for _, r := range m.Recipients {
			a.add(r.To, r.Status, r.Attempts, r.Reply)
		}
		if _, twice := accounts[m.QueueID]; twice {
			return nil, fmt.Errorf("replay: queue id %s twice", m.QueueID)
		}
		accounts[m.QueueID] = a
	}
}
