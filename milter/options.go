package milter

import (
	"context"
	"io/fs"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Signing is one message on its way through a signer. Header gets every field in order, as the milter protocol has it (all
// behind the colon, leading space included, folded with LF); then Body gets the body, cut anywhere; Finish ends it at a time.
// The server calls it from one goroutine and drops it without Finish when the message is aborted.
type Signing interface {
	Header(name, value string)
	Body(chunk []byte)
	Finish(now time.Time) (fleet.Signed, error)
}

// Recorder stores events. Record returns when the event is committed; it is called from many goroutines.
type Recorder interface {
	Record(ctx context.Context, e *fleet.Event) error
}

// Listen is one socket to serve on.
type Listen struct {
	Network     string      // unix or tcp
	Address     string      // absolute path, or host:port
	Mode        fs.FileMode // of a unix socket; zero: as umask leaves it
	Group       string      // owner group of a unix socket; empty: the process's
	AllowRemote bool        // a TCP address that other hosts reach is meant
}

// Policy is what a reload changes. It holds for messages that begin after it.
type Policy struct {
	// Sign begins to sign a message; nil: nothing is signed. It is asked only for mail that the node may sign, see Source.
	Sign     func(now time.Time) Signing
	Networks []netip.Prefix // clients whose mail is signed
	// Services are names of Postfix services whose mail is signed, compared with the macro {daemon_name}
	// (milter_macro_daemon_name in postconf(5)).
	Services []string
	// Transcripts: inbound transcripts are recorded.
	Transcripts bool
	// Headers that are recorded, of from, to, subject, message-id.
	Headers []string
}

// Options for New. Zero values get the default in brackets.
type Options struct {
	Listen         []Listen
	Policy         Policy
	Recorder       Recorder      // nil: nothing is recorded
	RecordWait     time.Duration // the reply waits so long for the record [250 ms]; negative: not at all
	MaxConnections int           // [1000]
	ReadTimeout    time.Duration // longest silence of a connection [1 h]
	WriteTimeout   time.Duration // [30 s]
	// HopOrigin tells which node of the fleet handed over the connection of a client on the service [fleet.HopService], by the
	// client's address and port as Postfix has them. Mail from others on that service is put off. [nobody did]
	HopOrigin func(addr string, port int) (node string, ok bool)
	// HopSigning tells what to do about the origin's signature, by the envelope sender. [HopLeave]
	HopSigning func(sender string) HopSigning
	Clock      func() time.Time      // [time.Now]
	Log        *zap.Logger           // [none]
	Metrics    prometheus.Registerer // [none]
}

const (
	defaultRecordWait     = 250 * time.Millisecond
	defaultMaxConnections = 1000
	defaultReadTimeout    = time.Hour
	defaultWriteTimeout   = 30 * time.Second
)

func (o *Options) setDefaults() {
	if o.RecordWait == 0 {
		o.RecordWait = defaultRecordWait
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = defaultMaxConnections
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = defaultReadTimeout
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}
