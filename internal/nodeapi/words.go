package nodeapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// errClosed: the node ended an event stream in good order.
var errClosed = errors.New("stream closed")

// explain turns what went wrong since asked into words for the person at the page. What the node itself said, and what
// the check of its certificate said, is in such words already.
func (c *Client) explain(ctx context.Context, asked time.Time, err error) error {
	var said *fleet.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.As(err, &said):
		return said
	}
	return fleet.Errorf(fleet.CodeUnavailable, "%s", c.words(ctx, asked, err))
}

func (c *Client) words(ctx context.Context, asked time.Time, err error) string {
	var (
		node      = "node " + c.o.Node
		op        *net.OpError
		unknown   *net.DNSError
		plain     tls.RecordHeaderError
		syntax    *json.SyntaxError
		wrongType *json.UnmarshalTypeError
		timeout   net.Error
	)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "no answer from " + node + " within " + time.Since(asked).Round(10*time.Millisecond).String()
	case errors.As(err, &unknown):
		return "the host name " + unknown.Name + " of " + node + " can't be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return node + " refused the connection: is its daemon running?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to " + node + " at " + c.base.Host
	case errors.As(err, &op) && op.Op == "remote error": // a TLS alert, crypto/tls gives its type to nobody
		return node + " refused our certificate (" + strings.TrimPrefix(op.Err.Error(), "tls: ") + "): its log says why"
	case errors.As(err, &plain):
		return "what answers at " + c.base.Host + " for " + node + " doesn't speak TLS"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return "no connection to " + node + " at " + c.base.Host + " within " + time.Since(asked).Round(10*time.Millisecond).String()
	case errors.Is(err, errTooLarge), errors.Is(err, bufio.ErrTooLong):
		return "the answer of " + node + " is too large"
	case errors.As(err, &syntax), errors.As(err, &wrongType):
		return node + " answered something that is not of the node API"
	case errors.Is(err, errClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return node + " closed the connection"
	}
	return "asking " + node + ": " + err.Error()
}
