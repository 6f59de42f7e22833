// Package apiclient asks an aggregator through its JSON API, for the commands that an administrator types.
package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// Options say which aggregator to ask, and as whom.
type Options struct {
	URL    string // https://HOST:PORT; plain http for a loopback address alone, since the token would be seen
	Token  string // from `postfleet token add`
	CAFile string // PEM of who signed the aggregator's certificate; empty for the host's own authorities
}

// Client asks one aggregator. Errors of the aggregator are [fleet.Error].
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

const (
	answerTimeout = 90 * time.Second // longer than any deadline for nodes
	maxAnswer     = 256 << 20        // bytes
)

// New makes a client. It asks nothing yet.
func New(o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(o.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.Path != "" {
		return nil, fmt.Errorf("%q is not the address of an aggregator: expected https://HOST:PORT", o.URL)
	}
	if base.Scheme == "http" && !isLoopback(base.Hostname()) {
		return nil, fmt.Errorf("%s: the token would cross the network in the clear; use https", o.URL)
	}
	if o.Token == "" {
		return nil, errors.New("no token: give --token-file or POSTFLEET_TOKEN; `postfleet token add` on the aggregator makes one")
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificate authority: %s has no PEM certificate", o.CAFile)
		}
	}
	return &Client{base: base, token: o.Token, http: &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:       secure,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: answerTimeout,
		},
		// A redirect could lead the token elsewhere; the API has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close drops kept connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Messages asks for one page; cursor is empty for the first.
func (c *Client) Messages(ctx context.Context, q fleet.Query, cursor string) (*aggregator.List, error) {
	values := q.Values()
	if cursor != "" {
		values.Set("cursor", cursor)
	}
	var list aggregator.List
	return &list, c.get(ctx, "messages", values, &list)
}

// Trace asks what became of the mail that the query's sender and recipient, queue id or message id name.
func (c *Client) Trace(ctx context.Context, q fleet.Query) (*aggregator.TraceAnswer, error) {
	var answer aggregator.TraceAnswer
	return &answer, c.get(ctx, "trace", q.Values(), &answer)
}

// Transcripts asks for the conversations of a message.
func (c *Client) Transcripts(ctx context.Context, node string, id fleet.MessageID) (*aggregator.TranscriptsAnswer, error) {
	var answer aggregator.TranscriptsAnswer
	return &answer, c.get(ctx, "messages/"+url.PathEscape(node)+"/"+id.String()+"/transcripts", nil, &answer)
}

func (c *Client) get(ctx context.Context, path string, values url.Values, into any) error {
	return c.answer(ctx, http.MethodGet, path, values, nil, into)
}

// post sends a value as JSON and reads the answer.
func (c *Client) post(ctx context.Context, path string, value, into any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the question: %w", err)
	}
	return c.answer(ctx, http.MethodPost, path, nil, body, into)
}

func (c *Client) answer(ctx context.Context, method, path string, values url.Values, send []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	response, err := c.ask(ctx, method, path, values, send)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base.Host, err)
	}
	return nil
}

// ask gives the answer when its status is 200, and an error otherwise.
func (c *Client) ask(ctx context.Context, method, path string, values url.Values, send []byte) (*http.Response, error) {
	address := c.base.String() + "/api/v1/" + path
	if len(values) > 0 {
		address += "?" + values.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(send))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	if send != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request)
	if err != nil {
		var asking *url.Error
		if errors.As(err, &asking) {
			err = asking.Err
		}
		return nil, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, httperr.Read(response.StatusCode, response.Body)
	}
	return response, nil
}
