package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
)

// silence is how long the stream may say nothing: three of the aggregator's heartbeats.
const silence = 45 * time.Second

// maxEvent bounds one event, in bytes.
const maxEvent = 16 << 20

// Events calls each for every change that matches q from now on, and for every gap. Events of other names are those of a
// newer aggregator. It returns when ctx ends, or with what broke the stream.
func (c *Client) Events(ctx context.Context, q fleet.Query, each func(*fleet.Change)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	response, err := c.ask(ctx, http.MethodGet, "events", q.Values(), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%s said nothing for %v", c.base.Host, silence)) })
	defer quiet.Stop()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	var name string
	var data []byte
	for lines.Scan() {
		quiet.Reset(silence)
		line := lines.Bytes()
		switch {
		case bytes.HasPrefix(line, []byte("event:")):
			name = string(bytes.TrimPrefix(line[len("event:"):], []byte(" ")))
		case bytes.HasPrefix(line, []byte("data:")):
			data = append(data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
		case len(line) == 0 && len(data) > 0:
			change, err := readEvent(name, data)
			if err != nil {
				return fmt.Errorf("read an event of %s: %w", c.base.Host, err)
			}
			if change != nil {
				each(change)
			}
			name, data = "", data[:0]
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

// readEvent is nil for an event of another name.
func readEvent(name string, data []byte) (*fleet.Change, error) {
	var change fleet.Change
	switch name {
	case "change":
		return &change, json.Unmarshal(data, &change)
	case "gap":
		var gap aggregator.Gap
		err := json.Unmarshal(data, &gap)
		change.Gap = gap.Node
		return &change, err
	}
	return nil, nil
}
