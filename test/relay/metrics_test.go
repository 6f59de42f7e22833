package relay

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const hangup = syscall.SIGHUP

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// metric reads one value of a node's /metrics; a metric with labels is named with them.
func (s *site) metric(i int, name string) (float64, error) {
	resp, err := client.Get("http://" + s.nodes[i].Status + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// handed is how many connections a node gave to others so far.
func (s *site) handed(i int) (total float64) {
	s.t.Helper()
	for to := range s.nodes {
		// One that got none has no such line.
		if n, err := s.metric(i, fmt.Sprintf(`postfleet_relay_handed_total{to="%s"}`, name(to))); err == nil {
			total += n
		}
	}
	return total
}
