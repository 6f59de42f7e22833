package aggregator_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

// stream reads server-sent events until want comes.
func (v *visitor) stream(path string, arrive func(), want func(name, data string) bool) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.site.URL+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	answer, err := v.client.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	go func() { // a subscription begins some time after the answer's head: say it again until it is heard
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			arrive()
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	var name string
	var data []string
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "event":
			name = value
		case "data":
			data = append(data, value)
		case "":
			if want(name, strings.Join(data, "\n")) {
				return
			}
			name, data = "", nil
		}
	}
	v.t.Errorf("%s: the event didn't come: %v", path, lines.Err())
}

func TestLiveRows(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	v.stream("/messages/live?sender=%40shop.example", func() {
		v.site.Arrive("mx1", func(m *fleet.Message) { m.Sender = "orders@shop.example"; m.Subject = fakefleet.Hostile })
		v.site.Arrive("mx2", func(m *fleet.Message) { m.Sender = "x@other.example" })
	}, func(name, data string) bool {
		if strings.Contains(data, "other.example") || name == "gone" {
			t.Error("the stream tells of a message that the filters leave out")
		}
		return name == "row" && strings.Contains(data, "orders@shop.example") && strings.Contains(data, "&lt;script&gt;")
	})
}

// A message that came in between the page and the stream is not missed.
func TestLiveRowsBeginWhereThePageEnds(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	m := v.site.Arrive("mx2", nil)
	v.stream("/messages/live", func() {}, func(name, data string) bool {
		return name == "row" && strings.Contains(data, m.ID.String())
	})
}

// A message that leaves the queue leaves the view of the queue.
func TestLiveRowsLeave(t *testing.T) {
	v := visit(t, fakefleet.Options{})
	v.stream("/messages/live?view=queue", func() { v.site.Arrive("mx1", nil) }, func(name, data string) bool {
		return name == "gone" && strings.HasPrefix(data, "m-mx1-")
	})
}
