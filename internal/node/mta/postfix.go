package mta

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Capture says whether the SMTP client logs whole conversations.
type Capture string

// The capture modes. CaptureUnknown: postconf(1) gave no answer.
const (
	CaptureOn      Capture = "on"
	CaptureOff     Capture = "off"
	CaptureUnknown Capture = "unknown"
)

// Options name the instance.
type Options struct {
	ConfigDir string
	QueueDir  string
	Postconf  string        // command; empty means postconf on the PATH
	Keep      time.Duration // how long facts are kept before they are looked up again; zero means 15 s
	Now       func() time.Time
}

// Postfix is one instance. It is safe for concurrent use.
type Postfix struct {
	o Options

	mu     sync.Mutex
	facts  Facts
	looked time.Time

	count counter
}

// Facts are what is known of the instance at a moment.
type Facts struct {
	Version string // mail_version; empty when postconf(1) gave no answer
	Capture Capture
	Takes   *fleet.MailLimits // nil: postconf(1) gave no answer
	Queue   *fleet.Queue      // nil: the queue directory can't be read
	Problem string            // why something above is missing
}

// New is the instance that o names. Nothing is looked up yet.
func New(o Options) *Postfix {
	if o.Postconf == "" {
		o.Postconf = "postconf"
	}
	if o.Keep == 0 {
		o.Keep = 15 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Postfix{o: o}
}

// Facts gives the facts, looked up at most once in Options.Keep.
func (p *Postfix) Facts(ctx context.Context) Facts {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	if !p.looked.IsZero() && now.Sub(p.looked) < p.o.Keep && !now.Before(p.looked) {
		return p.facts
	}
	p.facts = p.look(ctx)
	p.looked = now
	return p.facts
}

func (p *Postfix) look(ctx context.Context) Facts {
	facts := Facts{Capture: CaptureUnknown}
	var problems []string
	version, err := p.postconf(ctx, "-h", "mail_version")
	if err != nil {
		problems = append(problems, err.Error())
	} else {
		facts.Version = version
		if facts.Capture, err = p.capture(ctx); err != nil {
			problems = append(problems, err.Error())
		}
		if facts.Takes, err = p.takes(ctx); err != nil {
			problems = append(problems, err.Error())
		}
	}
	queue, err := countQueue(p.o.QueueDir)
	if err != nil {
		problems = append(problems, err.Error())
	}
	facts.Queue, facts.Problem = queue, strings.Join(problems, "; ")
	return facts
}

// capture looks for debug_peer_list on the two SMTP client services in master.cf.
func (p *Postfix) capture(ctx context.Context) (Capture, error) {
	set, err := p.postconf(ctx, "-P", "smtp/unix/debug_peer_list", "relay/unix/debug_peer_list")
	if err != nil {
		return CaptureUnknown, err
	}
	for line := range strings.Lines(set) {
		if _, value, found := strings.Cut(line, "="); found && strings.TrimSpace(value) != "" {
			return CaptureOn, nil
		}
	}
	return CaptureOff, nil
}

// postconfTimeout is ample: postconf reads two files.
const postconfTimeout = 5 * time.Second

func (p *Postfix) postconf(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, postconfTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.o.Postconf, append([]string{"-c", p.o.ConfigDir}, args...)...)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if said := strings.TrimSpace(stderr.String()); said != "" {
			return "", fmt.Errorf("postconf: %s", firstLine(said))
		}
		return "", fmt.Errorf("postconf: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// LineLimit is smtp_line_length_limit: the SMTP client breaks longer lines of a body. Zero: it breaks none.
func (p *Postfix) LineLimit(ctx context.Context) (int, error) {
	text, err := p.postconf(ctx, "-h", "smtp_line_length_limit")
	if err != nil {
		return 0, err
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 0 {
		return 0, fmt.Errorf("postconf: smtp_line_length_limit is %q, expected a number", text)
	}
	return limit, nil
}
