package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == abandon {
		abandonLab()
	}
	if len(os.Args) == 2 && os.Args[1] == abandonHosts {
		abandonTwoHosts()
	}
	goleak.VerifyTestMain(m)
}

// Every kind of sink, seen by the tap in front of it and by Postfix's own queue.
func TestFates(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	ctx := lab.Within(t, time.Minute)
	kinds := map[string]lab.SinkOptions{
		"accept.example":    {},
		"defer.example":     {SoftFail: []string{"RCPT"}},
		"norcpt.example":    {HardFail: []string{"RCPT"}},
		"nocontent.example": {HardFail: []string{"."}},
		"drop.example":      {Drop: []string{"DATA"}},
	}
	routes := map[string]string{}
	taps := map[string]*lab.Tap{}
	for domain, opts := range kinds {
		opts.Name, _, _ = strings.Cut(domain, ".")
		sink, err := l.StartSink(ctx, opts)
		if err != nil {
			t.Fatal(err)
		}
		if taps[domain], err = l.StartTap(sink); err != nil {
			t.Fatal(err)
		}
		routes[domain] = taps[domain].Addr
	}
	p, err := l.StartPostfix(ctx, lab.PostfixOptions{Name: "n1", IP: "127.0.0.11", Capture: true, Retry: time.Hour, Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	mail := lab.Mail{From: "sender@accept.example", Subject: "Grüße", Text: "one\n.two"}
	for domain := range kinds {
		mail.To = append(mail.To, "someone@"+domain)
	}
	outcomes, err := lab.Client{}.Send(ctx, p.Addr, mail)
	if err != nil {
		t.Fatal(err)
	}
	if outcomes[0].QueueID == "" {
		t.Fatalf("outcome %+v", outcomes[0])
	}
	if err := p.Drained(ctx); err != nil {
		t.Fatal(err)
	}
	queue, err := p.Queue(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var deferred []string
	for _, mail := range queue {
		for _, r := range mail.Recipients {
			deferred = append(deferred, r.Address)
		}
	}
	slices.Sort(deferred)
	if want := []string{"someone@defer.example", "someone@drop.example"}; !slices.Equal(deferred, want) {
		t.Errorf("in the queue: %v, want %v", deferred, want)
	}
	taken := taps["accept.example"].Taken()
	if len(taken) != 2 { // the mail and its bounce
		t.Fatalf("taken: %+v", taken)
	}
	if !bytes.HasSuffix(taken[0].Content, []byte("\r\n\r\none\r\n.two\r\n")) {
		t.Errorf("content:\n%s", taken[0].Content)
	}
	if refused := taps["nocontent.example"].Taken(); len(refused) != 1 || refused[0].Accepted {
		t.Errorf("refused after DATA: %+v", refused)
	}
	log, err := p.LogContent()
	if err != nil || !bytes.Contains(log, []byte(": > ")) {
		t.Errorf("no captured lines in the log (%v)", err)
	}
}

func TestSubmissionAndTLS(t *testing.T) {
	t.Parallel()
	l := lab.ForTest(t)
	ctx := lab.Within(t, time.Minute)
	sink, err := l.StartTLSSink(map[string]string{"nobody": "550 5.1.1 no such user here"})
	if err != nil {
		t.Fatal(err)
	}
	main, err := l.Submission(map[string]string{"ann": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	main["smtp_tls_security_level"] = "may"
	p, err := l.StartPostfix(ctx, lab.PostfixOptions{Name: "n1", Main: main, Routes: map[string]string{"tls.example": sink.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	mail := lab.Mail{From: "ann@tls.example", To: []string{"nobody@tls.example", "bob@tls.example"}, Subject: "hello"}
	stranger := lab.Client{From: "127.129.0.1"}
	outcomes, err := stranger.Send(ctx, p.Addr, lab.Mail{From: "x@tls.example", To: []string{"bob@elsewhere.example"}})
	if err != nil || outcomes[0].Err == nil || len(outcomes[0].Refused) != 1 {
		t.Fatalf("relaying for a stranger: %+v, %v", outcomes, err)
	}
	if _, err := (lab.Client{StartTLS: true, User: "ann", Password: "wrong"}).Send(ctx, p.Addr, mail); err == nil {
		t.Error("a wrong password was taken")
	}
	ann := lab.Client{From: "127.129.0.1", StartTLS: true, User: "ann", Password: "secret"}
	if _, err := ann.Send(ctx, p.Addr, mail); err != nil {
		t.Fatal(err)
	}
	err = lab.Until(ctx, func(context.Context) error {
		if n := len(sink.Taken()); n != 2 { // the mail and its bounce
			return fmt.Errorf("%d messages at the sink", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if said := sink.Said(); !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "550 5.1.1 no such user here") }) {
		t.Errorf("said: %q", said)
	}
}

const abandon = "abandon-lab"

// abandonLab is what the killed program of TestLeash does: it prints what it started and never comes back.
func abandonLab() {
	l, err := lab.New()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ctx := context.Background()
	p, err := l.StartPostfix(ctx, lab.PostfixOptions{Name: "left"})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	sleeper, err := l.Start("sleeper", "sleep", "600")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Dir, p.Pid(), sleeper.Pid())
	select {}
}

// Whatever a killed program leaves behind is ended and removed.
func TestLeash(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a private Postfix instance needs root")
	}
	ctx := lab.Within(t, time.Minute)
	cmd := exec.CommandContext(ctx, os.Args[0], abandon)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	var master, sleeper int
	_, scanErr := fmt.Fscan(out, &dir, &master, &sleeper)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if scanErr != nil {
		t.Fatal(scanErr)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the program ended by itself")
	}
	err = lab.Until(ctx, func(context.Context) error {
		for _, pid := range []int{master, sleeper} {
			if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil && !bytes.Contains(status, []byte("State:\tZ")) {
				return fmt.Errorf("process %d runs", pid)
			}
		}
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is there", dir)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConsul(t *testing.T) {
	t.Parallel()
	if _, err := lab.ConsulBinary(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	l := lab.ForTest(t)
	ctx := lab.Within(t, time.Minute)
	server, err := l.StartConsul(ctx, lab.ConsulOptions{Name: "server"})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := l.StartConsul(ctx, lab.ConsulOptions{Name: "agent", Join: server})
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Forget(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(ctx); err != nil {
		t.Fatal(err)
	}
}
