package aggregator

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// A stream goes on past the timeouts that other requests have, over HTTP/1.1 and HTTP/2, and ends when the server does.
func TestStreamsOutliveTimeouts(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			certFile, keyFile, roots := selfSigned(t, t.TempDir(), "stream")
			ts := newServer(t, func(o *Options) {
				if proto == "HTTP/2.0" {
					o.CertFile, o.KeyFile = certFile, keyFile
				}
			})
			ts.roots = roots
			ts.http.ReadTimeout, ts.http.WriteTimeout = timeout, timeout
			ts.start()
			client := ts.browser()
			response, err := client.Do(ts.request(http.MethodGet, apiPrefix+"/events", "", "Authorization", "Bearer "+ts.tokens[accounts.Viewer]))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.Proto != proto {
				t.Fatalf("spoken: %s", response.Proto)
			}
			a := ts.fleet.node("a")
			eventually(t, "the node is followed", func() bool { return a.followers() == 1 })
			lines := bufio.NewScanner(response.Body)
			for began := time.Now(); time.Since(began) < 4*timeout; {
				a.emit(fleet.Message{ID: 5})
				for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
				}
				if lines.Err() != nil {
					t.Fatalf("after %v: %v", time.Since(began), lines.Err())
				}
			}
			ts.endStreams() // the first thing that Shutdown does
			for lines.Scan() {
			}
			if lines.Err() != nil {
				t.Errorf("the stream broke off: %v", lines.Err())
			}
		})
	}
}
