package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/repository"
)

// runDaemon is a node in a process of its own, until it is killed or told to stop.
func runDaemon(path string) {
	c, err := config.LoadMilter(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	n, err := New(c, Options{Hostname: "n1", Log: zap.NewNop()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if err := n.Start(func(err error) { fmt.Fprintln(os.Stderr, err); os.Exit(1) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-stop
	if err := n.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (s *site) daemon(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asDaemon+"="+s.file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Killed at any moment, the follower loses no event and doubles none: position and events commit together.
func TestKilledFollowerIsExactlyOnce(t *testing.T) {
	const kills, perRound = 8, 400
	s := newSite(t)
	status := freeAddress(t)
	text := s.yaml("127.0.0.1:1", "certificates: files", "certificates: 'off'", `status: {listen: "127.0.0.1:0"}`, fmt.Sprintf("status: {listen: %q}", status))
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	written := 0
	for range kills {
		cmd := s.daemon(t)
		// The log grows while the node follows, and the kill comes somewhere in between.
		deadline := time.Now().Add(time.Duration(30+rand.IntN(300)) * time.Millisecond)
		for range perRound {
			s.writeLog(t, delivery(time.Now(), fmt.Sprintf("4F%08X", written)))
			written++
			if time.Now().After(deadline) {
				break
			}
		}
		if wait := time.Until(deadline); wait > 0 {
			<-time.After(wait)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as it should
	}
	// The last one reads the rest and stops in order.
	cmd := s.daemon(t)
	s.waitRead(t, status)
	count := s.countAfter(t, cmd)
	for queueID, attempts := range count {
		if attempts != 1 {
			t.Errorf("%s: %d attempts", queueID, attempts)
		}
	}
	if len(count) != written {
		t.Errorf("%d messages of %d", len(count), written)
	}
	t.Logf("%d messages over %d kills", written, kills)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

var lastLine = regexp.MustCompile(`(?m)^postfleet_log_last_line_timestamp_seconds (\S+)$`)

// waitRead ends the log with a line about nothing, and waits until a daemon has stored that it read it.
func (s *site) waitRead(t *testing.T, status string) {
	t.Helper()
	end := time.Now().Add(time.Second).Truncate(time.Second)
	s.writeLog(t, end.Format("2006-01-02T15:04:05.000000-07:00")+" n1 postfix/qmgr[102]: 4FFFFFFFFF: removed\n")
	defer http.DefaultClient.CloseIdleConnections()
	eventually(t, func() error {
		response, err := http.Get("http://" + status + "/metrics")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		match := lastLine.FindSubmatch(text)
		if match == nil {
			return errors.New("no such metric")
		}
		read, err := strconv.ParseFloat(string(match[1]), 64)
		if err == nil && read < float64(end.Unix()) {
			err = fmt.Errorf("read up to %s", match[1])
		}
		return err
	})
}

// countAfter stops a daemon and counts the attempts of each message.
func (s *site) countAfter(t *testing.T, cmd *exec.Cmd) map[string]int {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	store, err := repository.Open(repository.Options{Dir: s.path("repository"), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	count := map[string]int{}
	q := fleet.Query{Limit: fleet.MaxLimit}
	for {
		page, err := store.Messages(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Messages {
			m := &page.Messages[i]
			if _, twice := count[m.QueueID]; twice {
				t.Errorf("%s is there twice", m.QueueID)
			}
			count[m.QueueID] = 0
			for _, r := range m.Recipients {
				count[m.QueueID] += len(r.Attempts)
			}
			if m.Fate() != fleet.FateDelivered {
				t.Errorf("%s is %s", m.QueueID, m.Fate())
			}
		}
		if q.Before = page.Next; q.Before == 0 {
			return count
		}
	}
}
