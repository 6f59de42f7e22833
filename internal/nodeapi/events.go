package nodeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// eventWriteTimeout is how long a caller may leave the stream unread before it is cut off.
const eventWriteTimeout = 20 * time.Second

// events streams changes as server-sent events (WHATWG HTML section 9.2) until the caller goes. A Last-Event-ID is
// ignored: what happened while nobody listened is in the list of messages.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream := &eventStream{w: w, control: http.NewResponseController(w)}
	changes := h.o.Store.Subscribe(ctx)
	h.metrics.streams.Inc()
	defer h.metrics.streams.Dec()

	w.Header().Set("Content-Type", "text/event-stream")
	heartbeat := time.NewTicker(h.o.Heartbeat)
	defer heartbeat.Stop()
	// A first comment sends the header, so that the caller knows that from here on it misses nothing.
	for err := stream.write(": listening\n\n"); err == nil; {
		select {
		case <-h.ending:
			return
		case <-ctx.Done():
			return
		case <-heartbeat.C:
			err = stream.write(": alive\n\n")
		case change, open := <-changes:
			if !open {
				return
			}
			err = stream.change(change)
		}
		if err != nil {
			h.o.Log.Debug("event stream ended", zap.Error(err))
		}
	}
}

type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	id      int64
}

func (s *eventStream) change(c fleet.Change) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode change: %w", err)
	}
	s.id++
	return s.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", s.id, eventChange, data))
}

// write sends text at once. The deadline replaces the server's own, which is for whole answers.
func (s *eventStream) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(eventWriteTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
