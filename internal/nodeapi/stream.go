package nodeapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

var errSilent = errors.New("nothing heard")

// Events calls opened when the node has begun to send, and each for every change from then on, one at a time. It returns when ctx ends, with its error, or when the
// stream breaks: the node stopped, or nothing was heard from it for too long.
func (c *Client) Events(ctx context.Context, opened func(), each func(fleet.Change)) error {
	listening, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	silence := time.AfterFunc(c.o.Silence, func() { stop(errSilent) })
	defer silence.Stop()

	asked := time.Now()
	err := c.listen(listening, opened, func() { silence.Reset(c.o.Silence) }, each)
	if errors.Is(context.Cause(listening), errSilent) {
		return fleet.Errorf(fleet.CodeUnavailable, "nothing heard from node %s for %s", c.o.Node, c.o.Silence)
	}
	return c.explain(ctx, asked, err)
}

// listen reads server-sent events: opened is called once before them, heard for every line, each for every change. Events of other names are
// those of a newer node.
func (c *Client) listen(ctx context.Context, opened, heard func(), each func(fleet.Change)) error {
	response, err := c.open(ctx, http.MethodGet, routeEvents, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	opened()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, int(c.o.MaxAnswer))
	var event string
	var data strings.Builder
	for lines.Scan() {
		heard()
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "event":
			event = value
		case field == "data":
			if data.Len()+len(value) > int(c.o.MaxAnswer) {
				return errTooLarge
			}
			data.WriteString(value)
		case lines.Text() == "" && event == eventChange && data.Len() > 0:
			var change fleet.Change
			if err := json.Unmarshal([]byte(data.String()), &change); err != nil {
				return fmt.Errorf("read an event: %w", err)
			}
			each(change)
			fallthrough
		case lines.Text() == "":
			event = ""
			data.Reset()
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errClosed
}
