package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// oneMessage is a fleet that has one message, written by somebody hostile, and a node that is away.
type oneMessage struct {
	aggregator.Fleet
	message fleet.Message

	mu      sync.Mutex
	queries []fleet.Query
	orders  []string // to nodes
	left    int      // messages on a node that drains
}

func (f *oneMessage) Messages(_ context.Context, q fleet.Query, _ string, _ ...string) (*aggregator.List, error) {
	f.mu.Lock()
	f.queries = append(f.queries, q)
	f.mu.Unlock()
	list := &aggregator.List{Messages: []fleet.Message{}, Nodes: []aggregator.Answer{{Node: "a"}, {Node: "b", Error: "connection refused"}}}
	if q.Match(&f.message) {
		list.Messages = append(list.Messages, f.message)
	}
	return list, nil
}

func (f *oneMessage) Message(context.Context, string, fleet.MessageID) (*fleet.Message, aggregator.Answer, error) {
	return &f.message, aggregator.Answer{Node: "a"}, nil
}

func (f *oneMessage) Transcripts(context.Context, string, fleet.MessageID) ([]fleet.Transcript, aggregator.Answer, error) {
	at := f.message.FirstSeen
	return []fleet.Transcript{{Key: "1", Direction: fleet.Outbound, Provenance: fleet.Captured, Peer: "mx.example.com[192.0.2.9]:25",
		Lines: []fleet.Line{{Time: at, From: fleet.ClientSays, Text: "MAIL FROM:<me@example.org>"},
			{Time: at, From: fleet.ServerSays, Text: "250 \x1b[2Jfine", Cut: true}}}}, aggregator.Answer{Node: "a"}, nil
}

func (f *oneMessage) Subscribe(_ context.Context, q fleet.Query) <-chan fleet.Change {
	f.mu.Lock()
	f.queries = append(f.queries, q)
	f.mu.Unlock()
	changes := make(chan fleet.Change, 2)
	changes <- fleet.Change{Gap: "b\x1b[2J"}
	changes <- fleet.Change{Message: f.message}
	return changes
}

// startAggregator serves the fleet and puts address and token into the environment.
func startAggregator(t *testing.T) *oneMessage {
	t.Helper()
	return startAggregatorAs(t, accounts.Viewer)
}

// startAggregatorAs has the token be of a role.
func startAggregatorAs(t *testing.T, role accounts.Role) *oneMessage {
	t.Helper()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f := &oneMessage{message: fleet.Message{Node: "a", ID: fleet.MessageIDAt(at), QueueID: "4bXyZ13abcz", FirstSeen: at, LastChange: at,
		Sender: "me@example.org", Subject: "hello \x1b]0;owned\x07\u202egnp", MessageID: "1@example.org",
		Client:     fleet.Client{Addr: "192.0.2.7", Name: "c.example.org", AuthUser: "me"},
		Signatures: []fleet.Signature{{Domain: "example.org", Selector: "a", Algorithm: "rsa-sha256"}},
		Recipients: []fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusBounced, DSN: "5.1.1", Attempts: []fleet.Attempt{
			{Time: at, Status: "bounced", Relay: "mx.example.com[192.0.2.9]:25", Delay: 1.5, Reply: "550 5.1.1 no such user"}},
			Reply: "550 5.1.1 no such user"}}}}
	dir := t.TempDir()
	if err := (accounts.UserFile{Path: filepath.Join(dir, "users")}).Add("anna", accounts.Admin, "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	token, err := accounts.TokenFile{Path: filepath.Join(dir, "tokens")}.Add("cli", role, at)
	if err != nil {
		t.Fatal(err)
	}
	server, err := aggregator.New(aggregator.Options{Fleet: f, Listen: "127.0.0.1:0", UsersFile: filepath.Join(dir, "users"),
		TokensFile: filepath.Join(dir, "tokens"), AuditFile: filepath.Join(dir, "audit"), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	server.Start(func(err error) { t.Error(err) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("POSTFLEET_URL", "http://"+server.Addr().String())
	t.Setenv("POSTFLEET_TOKEN", token)
	t.Setenv("XDG_CONFIG_HOME", dir)
	return f
}

// command runs postfleet with these arguments.
func command(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, problems bytes.Buffer
	status = run(args, strings.NewReader(stdin), &out, &problems)
	return status, out.String(), problems.String()
}

func TestTrace(t *testing.T) {
	f := startAggregator(t)
	for name, args := range map[string][]string{
		"queue id":             {"4bXyZ13abcz"},
		"message id":           {"<1@example.org>"},
		"sender and recipient": {"--since=9999d", "me@example.org", "@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, problems := command("", append([]string{"trace", "--transcript"}, args...)...)
			if status != exitDone {
				t.Fatalf("status %d: %s", status, problems)
			}
			for _, want := range []string{"4bXyZ13abcz  bounced", "c.example.org[192.0.2.7], as me", `hello \x1b]0;owned\x07\u202egnp`,
				"example.org, selector a, rsa-sha256", "mx.example.com[192.0.2.9]:25  1.50 s", "550 5.1.1 no such user",
				"outbound conversation, captured", "verdict    Given back to the sender, since 2026-11-23 12:00:00 UTC: 550 5.1.1 no such user",
				"next       There is no such mailbox", "1. Check the address", "> MAIL FROM:<me@example.org>", `< 250 \x1b[2Jfine … cut by Postfix's log`} {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if strings.ContainsAny(out, "\x1b\x07") {
				t.Error("control characters reach the terminal, or colours a pipe")
			}
			if !strings.Contains(problems, "node b did not answer, its messages are missing: connection refused") {
				t.Errorf("the missing node is not named: %s", problems)
			}
		})
	}
	status, out, _ := command("", "trace", "--json", "-t", "4bXyZ13abcz")
	var got traced
	if err := json.Unmarshal([]byte(out), &got); err != nil || status != exitDone || got.Subject != f.message.Subject || len(got.Transcripts) != 1 {
		t.Errorf("%d %v %s", status, err, out)
	}
	if status, _, problems := command("", "trace", "NOTHERE"); status != exitFailed || !strings.Contains(problems, "no such message") {
		t.Errorf("unknown queue id: %d %s", status, problems)
	}
	status, out, _ = command("", "trace", "--since=9999d", "me@example.org", "somebody@else.example")
	for _, want := range []string{"No node that answered has seen such a mail: 1 of 2 did.", "4.1 kB of its log are not read yet", "did not answer",
		"me@example.org -> you@example.com (the same sender, another recipient)"} {
		if status != exitFailed || !strings.Contains(out, want) {
			t.Errorf("never seen: status %d, no %q in\n%s", status, want, out)
		}
	}
}

func TestTraceUsage(t *testing.T) {
	startAggregator(t)
	for name, tc := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no argument":     {[]string{"trace"}, exitUsage, "expected a queue id"},
		"bad span":        {[]string{"trace", "--since", "long ago", "X"}, exitUsage, "since:"},
		"bad sender":      {[]string{"trace", "a", "b@example.com"}, exitUsage, "sender:"},
		"no address":      {[]string{"trace", "--server", "nonsense", "X"}, exitUsage, "not the address of an aggregator"},
		"in the clear":    {[]string{"trace", "--server", "http://192.0.2.1:80", "X"}, exitUsage, "in the clear"},
		"no token":        {[]string{"trace", "--token-file", "/none", "X"}, exitUsage, "read token"},
		"nobody there":    {[]string{"trace", "--server", "https://127.0.0.1:1", "X"}, exitFailed, "connection refused"},
		"bad authority":   {[]string{"trace", "--ca", os.Args[0], "X"}, exitUsage, "no PEM certificate"},
		"tail's filter":   {[]string{"tail", "--status", "lost"}, exitUsage, "status:"},
		"tail's argument": {[]string{"tail", "X"}, exitUsage, "expected 0 arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, _, problems := command("", tc.args...); status != tc.status || !strings.Contains(problems, tc.want) {
				t.Errorf("%d %s", status, problems)
			}
		})
	}
	t.Setenv("POSTFLEET_TOKEN", "wrong")
	t.Setenv("POSTFLEET_TOKEN_FILE", "")
	for _, args := range [][]string{{"trace", "X"}, {"tail"}} {
		if status, _, problems := command("", args...); status != exitFailed || !strings.Contains(problems, "the token is not known here") {
			t.Errorf("%s with a wrong token: %d %s", args[0], status, problems)
		}
	}
}

func TestTail(t *testing.T) {
	f := startAggregator(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, out := io.Pipe()
	root := newRoot()
	root.SetArgs([]string{"tail", "--status", "bounced", "--sender", "@example.org"})
	root.SetOut(out)
	var problems strings.Builder
	root.SetErr(&problems)
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if want := "a 4bXyZ13abcz bounced me@example.org -> you@example.com"; !strings.Contains(line, want) {
		t.Errorf("printed %q, want %q", line, want)
	}
	if q := f.asked()[0]; q.Status != fleet.StatusBounced || q.Sender != "@example.org" {
		t.Errorf("asked for %+v", q)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if want := `postfleet: changes of node b\x1b[2J were missed`; !strings.Contains(problems.String(), want) {
		t.Errorf("the gap is not named: %q", problems.String())
	}
}

func (f *oneMessage) asked() []fleet.Query {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queries
}
