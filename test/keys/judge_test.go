package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-smtp"

	"github.com/postfleet/postfleet/test/lab"
)

// judge is a mail server that verifies every message when it arrives, against the DNS of that moment.
type judge struct {
	addr string
	dns  *lab.Bind

	mu        sync.Mutex
	taken     int
	faults    []string
	selectors map[string]int // good signatures
}

func startJudge(t *testing.T, dns *lab.Bind) *judge {
	t.Helper()
	j := &judge{dns: dns, selectors: map[string]int{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j.addr = listener.Addr().String()
	server := smtp.NewServer(j)
	server.Domain, server.ReadTimeout, server.WriteTimeout = "judge.example", time.Minute, time.Minute
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return j
}

// NewSession implements [smtp.Backend].
func (j *judge) NewSession(*smtp.Conn) (smtp.Session, error) { return &judging{j}, nil }

type judging struct{ *judge }

func (judging) Reset()                               {}
func (judging) Logout() error                        { return nil }
func (judging) Mail(string, *smtp.MailOptions) error { return nil }
func (judging) Rcpt(string, *smtp.RcptOptions) error { return nil }

// Data verifies a message; it takes it either way, so that nothing comes twice.
func (j judging) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	results, err := dkim.VerifyWithOptions(bytes.NewReader(content), &dkim.VerifyOptions{MaxVerifications: 5,
		LookupTXT: func(name string) ([]string, error) { return j.dns.TXT(ctx, name) }})
	var good []string
	selectors := selectorsOf(content)
	if err == nil && len(results) == 0 {
		err = errors.New("no signature")
	}
	for i, result := range results {
		if result.Err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", selectors[i], result.Err))
			continue
		}
		good = append(good, selectors[i])
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.taken++
	if err != nil {
		j.faults = append(j.faults, fmt.Sprintf("message %d at %s: %v", j.taken, time.Now().Format(time.StampMilli), err))
	}
	for _, selector := range good {
		j.selectors[selector]++
	}
	return nil
}

// selectorsOf are the s= tags of a message's signatures, top first.
func selectorsOf(content []byte) (selectors []string) {
	for _, part := range bytes.Split(content, []byte("DKIM-Signature:"))[1:] {
		selector := ""
		if found := selectorTag.FindSubmatch(part); found != nil {
			selector = string(found[1])
		}
		selectors = append(selectors, selector)
	}
	return selectors
}

var selectorTag = regexp.MustCompile(`[\s;]s=([^;\s]+)`)

// sofar are the figures up to now.
func (j *judge) sofar() (taken int, faults []string, selectors map[string]int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	selectors = map[string]int{}
	for selector, n := range j.selectors {
		selectors[selector] = n
	}
	return j.taken, append([]string(nil), j.faults...), selectors
}

// load sends mail to the nodes until it is stopped; it gives how many messages they accepted and how many they put off.
type load struct {
	cancel   context.CancelFunc
	sending  sync.WaitGroup
	mu       sync.Mutex
	accepted int
	put      []string // replies of those that were not accepted
}

func startLoad(t *testing.T, servers ...string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	for _, server := range servers {
		l.sending.Go(func() { l.send(ctx, server) })
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	l.sending.Wait()
}

func (l *load) send(ctx context.Context, server string) {
	pace := time.NewTicker(60 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		mail := lab.Mail{From: "app@shop.example", To: []string{"eva@world.example"}, Subject: fmt.Sprint("Order ", n), Text: "Thank you"}
		// Not the load's context: a message under way is finished, so that the figures agree.
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		outcomes, err := lab.Client{}.Send(sending, server, mail)
		cancel()
		l.mu.Lock()
		switch {
		case err == nil && len(outcomes) == 1 && outcomes[0].Err == nil && outcomes[0].QueueID != "":
			l.accepted++
		case len(outcomes) == 1:
			l.put = append(l.put, outcomes[0].Reply)
		default:
			l.put = append(l.put, fmt.Sprint(err))
		}
		l.mu.Unlock()
	}
}

func (l *load) figures() (accepted int, put []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted, append([]string(nil), l.put...)
}
