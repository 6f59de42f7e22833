package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// silence is how long the stream may say nothing: three of the aggregator's heartbeats.
const silence = 45 * time.Second

// maxEvent bounds one event, in bytes.
const maxEvent = 16 << 20

// Events calls each for every change that matches q from now on. It returns when ctx ends, or with what broke the stream.
func (c *Client) Events(ctx context.Context, q fleet.Query, each func(*fleet.Change)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	response, err := c.ask(ctx, "events", q.Values())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%s said nothing for %v", c.base.Host, silence)) })
	defer quiet.Stop()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	var data []byte
	for lines.Scan() {
		quiet.Reset(silence)
		line := lines.Bytes()
		switch {
		case bytes.HasPrefix(line, []byte("data:")):
			data = append(data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
		case len(line) == 0 && len(data) > 0:
			var change fleet.Change
			if err := json.Unmarshal(data, &change); err != nil {
				return fmt.Errorf("read an event of %s: %w", c.base.Host, err)
			}
			each(&change)
			data = data[:0]
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("events of %s: %w", c.base.Host, err)
	}
	return fmt.Errorf("events of %s: %w", c.base.Host, io.ErrUnexpectedEOF)
}
