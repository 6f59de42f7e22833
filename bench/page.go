package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/repository"
	"github.com/postfleet/postfleet/test/lab"
	"golang.org/x/sync/errgroup"
)

const (
	pageNodes    = 3
	pageMessages = 100_000 // a node
	pageAsks     = 60      // of each kind
	pageBatch    = 500     // messages an Append
)

// benchFirstPage measures the first page of the list over three nodes against one node's own answer, both asked over HTTP
// in turn.
func benchFirstPage(ctx context.Context, binary string, out io.Writer) (err error) {
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := l.Close(); err == nil {
			err = closeErr
		}
	}()
	f, err := l.StartFleet(ctx, lab.FleetOptions{Binary: binary, Nodes: pageNodes, Domains: []string{domain}})
	if err != nil {
		l.DumpLogs(out, 3000)
		return err
	}
	filled, err := fill(ctx, f)
	if err != nil {
		return fmt.Errorf("fill the repositories: %w", err)
	}
	id, err := l.Issue(ctx, binary, "aggregator", "bench")
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(id.Cert, id.Key)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}}
	defer client.CloseIdleConnections()
	fmt.Fprintf(out, "\nFirst page (50 messages), %d nodes with %d messages each, filled at %.0f messages/s a node\n",
		pageNodes, pageMessages, filled)
	for _, query := range []string{"", "view=queue", "recipient=customer77", "domain=dest5.example"} {
		fleetTimes, nodeTimes, err := askInTurn(ctx, client, f, query)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %-24s fleet %6.2f ms, one node %6.2f ms, ratio %.2f\n", "?"+query,
			median(fleetTimes), median(nodeTimes), median(fleetTimes)/median(nodeTimes))
	}
	return nil
}

// askInTurn times the aggregator's answer and a node's own, in milliseconds.
func askInTurn(ctx context.Context, client *http.Client, f *lab.Fleet, query string) (ofFleet, ofNode []float64, err error) {
	for i := range pageAsks {
		node := f.Nodes[i%len(f.Nodes)]
		took, err := ask(ctx, client, f.Aggregator.URL+"/api/v1/messages?limit=50&"+query, f.Aggregator.Token)
		if err != nil {
			return nil, nil, err
		}
		ofFleet = append(ofFleet, took)
		if took, err = ask(ctx, client, "https://"+node.API+"/v1/messages?limit=50&"+query, ""); err != nil {
			return nil, nil, err
		}
		ofNode = append(ofNode, took)
	}
	return ofFleet[pageNodes:], ofNode[pageNodes:], nil // the first of each open connections
}

func ask(ctx context.Context, client *http.Client, url, token string) (milliseconds float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var page struct{ Messages []json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s %w", url, resp.Status, err)
	}
	if len(page.Messages) == 0 {
		return 0, fmt.Errorf("GET %s: no messages", url)
	}
	return float64(time.Since(began).Microseconds()) / 1000, nil
}

// fill writes messages into the nodes' repositories while the nodes are down, and returns how many a second.
func fill(ctx context.Context, f *lab.Fleet) (float64, error) {
	for _, node := range f.Nodes {
		if err := node.Stop(); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	var group errgroup.Group
	for i, node := range f.Nodes {
		group.Go(func() error { return fillNode(ctx, node, uint64(i)) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	rate := pageMessages / time.Since(began).Seconds()
	for _, node := range f.Nodes {
		if err := node.Start(ctx); err != nil {
			return 0, err
		}
	}
	return rate, nil
}

func fillNode(ctx context.Context, node *lab.Node, seed uint64) error {
	store, err := repository.Open(repository.Options{Dir: filepath.Clean(node.Dir), Node: node.Name})
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, seed))
	begin := time.Now().Add(-10 * 24 * time.Hour)
	for n := 0; n < pageMessages; n += pageBatch {
		var events []*fleet.Event
		for i := n; i < n+pageBatch; i++ {
			at := begin.Add(time.Duration(i) * 8 * time.Second).Add(time.Duration(random.IntN(1000)) * time.Millisecond)
			events = append(events, story(node.Name, i, at, random)...)
		}
		if err := store.Append(ctx, events...); err != nil {
			return err
		}
	}
	return store.Close()
}

// story is a message with one to three recipients, one in ten of which is deferred and one in twenty bounced.
func story(node string, n int, at time.Time, random *rand.Rand) []*fleet.Event {
	queueID := fmt.Sprintf("%X%05X", at.Unix(), n)
	event := func(part string, after time.Duration, body fleet.Body) *fleet.Event {
		return &fleet.Event{ID: fleet.NewEventID([]byte(node), []byte(queueID), []byte(part)), Time: at.Add(after), QueueID: queueID,
			Instance: "postfix", Body: body}
	}
	sender := fmt.Sprintf("sender%d@%s", n%40, domain)
	record := event("record", 20*time.Millisecond, &fleet.Recorded{Source: fleet.SourceNetwork, Verdict: fleet.VerdictAccepted,
		Client: fleet.Client{Addr: "192.0.2.1", HELO: "client.example"}, Sender: sender, HeaderFrom: sender,
		Subject: fmt.Sprintf("Order %d of week %d", n, n/10_000), MessageID: fmt.Sprintf("%d@%s", n, domain), Size: 4096,
		Signatures: []fleet.Signature{{Domain: domain, Selector: node, Algorithm: "rsa-sha256"}},
		Transcript: &fleet.Transcript{Key: fleet.InboundKey, Direction: fleet.Inbound, Started: at, Ended: at}})
	record.Since = at
	events := []*fleet.Event{event("arrived", 0, &fleet.Arrived{Client: fleet.Client{Addr: "192.0.2.1"}}), record}
	done := true
	for r := range 1 + random.IntN(3) {
		attempt := fleet.Attempt{Time: at.Add(time.Second), Status: "sent", DSN: "2.0.0", Daemon: "smtp",
			Relay: "mx.dest.example[198.51.100.7]:25", RelayHost: "mx.dest.example", RelayAddr: "198.51.100.7", RelayPort: 25,
			Delay: 0.8, Reply: "250 2.0.0 Ok: queued as 4XYZ"}
		switch dice := random.IntN(20); {
		case dice < 2:
			attempt.Status, attempt.DSN, attempt.Reply, done = "deferred", "4.2.0", "450 4.2.0 try again later", false
		case dice == 2:
			attempt.Status, attempt.DSN, attempt.Reply = "bounced", "5.1.1", "550 5.1.1 no such user"
		}
		body := &fleet.Attempted{Recipient: fmt.Sprintf("customer%d@dest%d.example", n%5000+r, n%30), Attempt: attempt}
		tried := event(fmt.Sprint("attempt", r), time.Second, body)
		body.Attempt.ID = tried.ID
		events = append(events, tried)
	}
	if done {
		events = append(events, event("left", 2*time.Second, &fleet.Left{By: fleet.LeftDone}))
	}
	return events
}
