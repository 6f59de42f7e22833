package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// Load, as the goals have it.
const (
	sessions  = 20
	smallSize = 4 << 10
	largeSize = 25 << 20
)

// turn is one measurement.
type turn struct {
	rate float64 // messages a second, from the first connection to the last arrival at the sink
	cpu  float64 // seconds of CPU of the milter's processes a message; zero for bare Postfix
}

// turn sends messages through Postfix and waits until the sink has taken the last one.
func (c *contestant) turn(ctx context.Context, messages int) (turn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	before, err := c.cpu()
	if err != nil {
		return turn{}, err
	}
	took, err := c.send(ctx, messages, smallSize)
	if err != nil {
		return turn{}, err
	}
	if err := c.settle(ctx); err != nil {
		return turn{}, err
	}
	after, err := c.cpu()
	if err != nil {
		return turn{}, err
	}
	return turn{rate: float64(messages) / took.Seconds(), cpu: (after - before).Seconds() / float64(messages)}, nil
}

// settle waits until the queue is empty. The sink of the turn has ended with its last message, whose reply can get lost
// on the way; Postfix then tries that message again, so somebody has to take it.
func (c *contestant) settle(ctx context.Context) error {
	again, err := c.lab.Start("sink-again-"+c.name, "smtp-sink", "-u", "postfix", c.sink, "1000")
	if err != nil {
		return err
	}
	if err := again.Ready(ctx, lab.Listens("tcp", c.sink)); err != nil {
		return err
	}
	return errors.Join(c.postfix.Drained(ctx), again.Stop())
}

// proveSigned sends one message and looks whether it comes out with a signature: a milter that signs nothing is fast.
func (c *contestant) proveSigned(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	dir, err := c.lab.Mkdir("dump-" + c.name)
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // smtp-sink runs as another user
		return err
	}
	dump := filepath.Join(dir, "mail")
	if _, err := c.send(ctx, 1, smallSize, "-D", dump); err != nil {
		return err
	}
	mail, err := os.ReadFile(dump)
	if err != nil {
		return err
	}
	if signed := bytes.Contains(mail, []byte("\nDKIM-Signature:")); signed != (c.milter != nil) {
		return fmt.Errorf("signed: %t\n%s", signed, mail)
	}
	return nil
}

func (c *contestant) sendLarge(ctx context.Context, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	_, err := c.send(ctx, messages, largeSize)
	return err
}

func (c *contestant) send(ctx context.Context, messages, size int, sinkArgs ...string) (time.Duration, error) {
	// With -M the sink ends when it has taken that many messages.
	args := append([]string{"-u", "postfix", "-M", strconv.Itoa(messages)}, sinkArgs...)
	receiver, err := c.lab.Start("sink-"+c.name, "smtp-sink", append(args, c.sink, "1000")...)
	if err != nil {
		return 0, err
	}
	if err := receiver.Ready(ctx, lab.Listens("tcp", c.sink)); err != nil {
		return 0, err
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, "smtp-source", "-s", strconv.Itoa(sessions), "-l", strconv.Itoa(size),
		"-m", strconv.Itoa(messages), "-f", "from@"+domain, "-t", "to@"+sink, c.postfix.Addr)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("smtp-source: %w: %s", err, out)
	}
	select {
	case <-receiver.Exited():
		return time.Since(began), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for %d messages at the sink: %w", messages, ctx.Err())
	}
}

// processes are the milter and its children.
func (c *contestant) processes() ([]int, error) {
	if c.milter == nil {
		return nil, nil
	}
	pids := []int{c.milter.Pid()}
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(c.milter.Pid())).Output()
	if err != nil && len(out) > 0 { // ps answers 1 when there are none
		return nil, err
	}
	for field := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
