package aggregator

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// heartbeat is how often a quiet stream says that it is alive, so that proxies keep it and a reader who went away is
// noticed.
const heartbeat = 15 * time.Second

// event is one server-sent event
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). An event without a name is not sent.
type event struct {
	name string
	data []byte // any text; its line ends become several data fields
}

// streamEvents answers with server-sent events, one a change, until the request, the session or the server ends or the
// reader takes nothing for streamWrite. The route's kind must be stream.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request, changes <-chan fleet.Change, of func(*fleet.Change) event) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the events back
	control := http.NewResponseController(w)
	send := func(text []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite)) // a writer without deadlines has no slow readers
		_, err := w.Write(text)
		return err == nil && control.Flush() == nil
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for going := send([]byte("retry: 3000\n\n")); going; {
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			going = send([]byte(": still here\n\n"))
		case change, open := <-changes:
			if !open {
				return
			}
			if one := of(&change); one.name != "" {
				going = send(one.text())
				beat.Reset(heartbeat)
			}
		}
	}
}

func (e event) text() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "event: %s\n", e.name)
	data := bytes.ReplaceAll(bytes.ReplaceAll(e.data, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	for line := range bytes.Lines(data) {
		fmt.Fprintf(&out, "data: %s\n", bytes.TrimSuffix(line, []byte("\n")))
	}
	out.WriteByte('\n')
	return out.Bytes()
}
