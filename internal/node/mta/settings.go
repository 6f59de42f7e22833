package mta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Settings are Postfix's settings as postconf(1) prints them: main.cf with defaults and everything expanded, the services of
// master.cf, and their overrides.
type Settings struct{ Main, Master, Params string }

// Settings asks for all settings.
func (p *Postfix) Settings(ctx context.Context) (s Settings, err error) {
	for _, one := range []struct {
		into *string
		args []string
	}{{&s.Main, []string{"-x"}}, {&s.Master, []string{"-M"}}, {&s.Params, []string{"-x", "-P"}}} {
		if *one.into, err = p.postconf(ctx, one.args...); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}

// List is the queue as postqueue -j prints it (postqueue(1)): one JSON object a message and line. A queue that doesn't fit
// into maxList is cut at a line.
func (p *Postfix) List(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "postqueue", "-c", p.o.ConfigDir, "-j")
	cmd.WaitDelay = time.Second
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limitedBuffer{&out}, &said
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(said.String()); said != "" {
			return nil, errors.New(firstLine(said)) // it names itself
		}
		return nil, fmt.Errorf("postqueue: %w", err)
	}
	return out.Bytes(), nil
}

const (
	listTimeout = 20 * time.Second
	maxList     = 64 << 20
)

// limitedBuffer forgets what is past maxList, so that the writer isn't held up.
type limitedBuffer struct{ to *bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.to.Write(p[:min(len(p), max(0, maxList-b.to.Len()))])
	return len(p), nil
}
