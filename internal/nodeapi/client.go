package nodeapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// ClientOptions say which node to ask, and how.
type ClientOptions struct {
	Node      string        // its name; an answer from another one is an error
	Base      string        // https://HOST:PORT
	TLS       *tls.Config   // shows the aggregator's certificate and lets in the node's alone: pki.ClientConfig
	MaxAnswer int64         // bytes of one answer, unpacked; 0: 64 MiB
	Silence   time.Duration // how long the event stream may say nothing; 0: 45 s, three of the node's heartbeats
}

// Client asks one node. It may be used by several goroutines; every method is bounded by its context. An error is a
// [fleet.Error] with words for the person at the page, or the context's own when the caller gave up.
type Client struct {
	o    ClientOptions
	base *url.URL
	http *http.Client
}

// Bounds on making a connection, for callers whose context is more patient.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	keepConnections  = 90 * time.Second
)

// NewClient makes a client; it connects when it is asked something.
func NewClient(o ClientOptions) (*Client, error) {
	base, err := url.Parse(o.Base)
	if err != nil || base.Scheme != "https" || base.Host == "" || strings.Trim(base.Path, "/") != "" || base.RawQuery != "" {
		return nil, fmt.Errorf("node %s: %q is not the address of a node API: expected https://HOST:PORT", o.Node, o.Base)
	}
	o.MaxAnswer = cmp.Or(o.MaxAnswer, 64<<20)
	o.Silence = cmp.Or(o.Silence, 45*time.Second)
	return &Client{o: o, base: base, http: &http.Client{
		Transport: &http.Transport{ // no proxy: nodes are near, and the environment is not ours to trust
			DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:     o.TLS,
			TLSHandshakeTimeout: handshakeTimeout,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     keepConnections,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close drops the connections that are kept for later questions. Its error is always nil: it is an io.Closer.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Info asks what the node says of itself.
func (c *Client) Info(ctx context.Context) (*fleet.NodeInfo, error) {
	var info fleet.NodeInfo
	return pointer(&info, c.get(ctx, routeNode, nil, &info))
}

// Messages asks for one page, newest first.
func (c *Client) Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error) {
	var page fleet.Page
	return pointer(&page, c.get(ctx, routeMessages, q.Values(), &page))
}

// Message asks for one message; one that isn't there is CodeNotFound.
func (c *Client) Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error) {
	var m fleet.Message
	return pointer(&m, c.get(ctx, strings.Replace(routeMessage, "{id}", id.String(), 1), nil, &m))
}

// Transcripts asks for the conversations of a message, oldest first.
func (c *Client) Transcripts(ctx context.Context, id fleet.MessageID) ([]fleet.Transcript, error) {
	var answer Transcripts
	if err := c.get(ctx, strings.Replace(routeTranscripts, "{id}", id.String(), 1), nil, &answer); err != nil {
		return nil, err
	}
	return answer.Transcripts, nil
}

// Stats asks for the node's figures.
func (c *Client) Stats(ctx context.Context, q fleet.StatsQuery) (*fleet.Stats, error) {
	var stats fleet.Stats
	return pointer(&stats, c.get(ctx, routeStats, q.Values(), &stats))
}

func pointer[T any](value *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return value, nil
}

// get asks for one JSON answer.
func (c *Client) get(ctx context.Context, path string, values url.Values, into any) error {
	return c.ask(ctx, http.MethodGet, path, values, nil, into)
}

// post sends a value as JSON and reads the answer.
func (c *Client) post(ctx context.Context, path string, value, into any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the question: %w", err)
	}
	return c.ask(ctx, http.MethodPost, path, nil, body, into)
}

func (c *Client) ask(ctx context.Context, method, path string, values url.Values, send []byte, into any) error {
	asked := time.Now()
	response, err := c.open(ctx, method, path, values, send)
	if err != nil {
		return c.explain(ctx, asked, err)
	}
	body := &limitedBody{from: response.Body, left: c.o.MaxAnswer}
	defer response.Body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return c.explain(ctx, asked, fmt.Errorf("read the answer: %w", err))
	}
	// The rest is a line end; a connection whose answer was read to its end is used again.
	_, _ = io.CopyN(io.Discard, body, 512)
	return nil
}

// open asks and gives an answer with status 200, whose body the caller closes.
func (c *Client) open(ctx context.Context, method, path string, values url.Values, send []byte) (*http.Response, error) {
	target := *c.base
	target.Path, target.RawQuery = path, values.Encode()
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(send))
	if err != nil {
		return nil, err
	}
	if send != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if reached := response.Header.Get(nodeHeader); reached != "" && reached != c.o.Node {
		_ = response.Body.Close()
		return nil, fleet.Errorf(fleet.CodeUnavailable, "asked for node %s and reached node %s: two members share an address", c.o.Node, reached)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, c.refused(response)
	}
	return response, nil
}

// refused reads an error answer. A 404 about a route, from whatever answers there, is a version that lacks it.
func (c *Client) refused(response *http.Response) error {
	given := httperr.Read(response.StatusCode, response.Body)
	switch {
	case given.Code == fleet.CodeUnsupported,
		response.StatusCode == http.StatusNotFound && response.Header.Get(nodeHeader) == "":
		return fleet.Errorf(fleet.CodeUnsupported, "node %s runs a version that can't answer this", c.o.Node)
	case given.Code == fleet.CodeInternal, given.Code == fleet.CodeUnavailable:
		given.Message = fmt.Sprintf("node %s: %s", c.o.Node, given.Message)
	}
	return given
}

var errTooLarge = errors.New("larger than the limit")

// limitedBody is an io.LimitedReader whose end is an error instead of a short answer.
type limitedBody struct {
	from io.Reader
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
