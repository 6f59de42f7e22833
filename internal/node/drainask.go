package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
)

// askTimeout bounds one question, which the daemon answers from memory.
const askTimeout = 5 * time.Second

// AskDrain asks the daemon whose status listener is at an address how far its drain is; nil: it takes mail.
func AskDrain(ctx context.Context, status string) (*fleet.Drain, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+status+DrainPath, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this host
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("the daemon at %s is of a version that can't drain: restart it", status)
	}
	var answer nodeapi.Drained
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", status, err)
	}
	return answer.Drain, nil
}
