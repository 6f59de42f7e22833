package nodeapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// Store is where a node's messages are. Errors that are safe to show are [fleet.Error]: a message that isn't there is
// CodeNotFound.
type Store interface {
	Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error)
	Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error)
	Transcripts(ctx context.Context, id fleet.MessageID) ([]fleet.Transcript, error)
	Stats(ctx context.Context, q fleet.StatsQuery) (*fleet.Stats, error)
	// Subscribe delivers changes from now on, and closes the channel when ctx ends.
	Subscribe(ctx context.Context) <-chan fleet.Change
}

// Options make a handler.
type Options struct {
	Node       string // the node's name
	Store      Store
	Carrier    Carrier // nil: the node carries no mail of others
	Info       func(context.Context) *fleet.NodeInfo
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	// Drain carries out an order to drain, and gives how far the node is; nil: the node can't.
	Drain func(context.Context, fleet.DrainOrder) (*fleet.Drain, error)
	// Caller tells who is at the other end of a connection that the TLS settings let in; nil: the aggregator.
	Caller func(*tls.ConnectionState) (Caller, error)
	Keys   Keys // nil: none to show
	// Diagnostics look at the node; nil: it has none.
	Diagnostics Diagnostics
	Timeout     time.Duration // of one answer; 0: 30 s
	Heartbeat   time.Duration // between signs of life on the event stream; 0: 15 s
}

// Caller is who asks: an aggregator, which may ask everything, or another node, which may ask about the mail that it handed
// over and nothing else.
type Caller struct {
	Name       string
	Aggregator bool
}

// Handler answers the node API. Whom TLS lets in is decided by the [Server]'s settings, what they may ask here.
type Handler struct {
	o       Options
	mux     *http.ServeMux
	metrics *metrics
	ending  chan struct{} // closed: event streams end
	end     sync.Once
}

// NewHandler makes the handler of a node's API.
func NewHandler(o Options) *Handler {
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Heartbeat = cmp.Or(o.Heartbeat, 15*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Handler{o: o, mux: http.NewServeMux(), metrics: newMetrics(o.Registerer), ending: make(chan struct{})}
	h.answer(routeNode, func(r *http.Request) (any, error) { return h.o.Info(r.Context()), nil })
	h.answer(routeHealth, h.health)
	h.answer(routeMessages, h.messages)
	h.answer(routeMessage, h.message)
	h.answer(routeTranscripts, h.transcripts)
	h.answer(routeStats, h.stats)
	h.handle(http.MethodPost, routeCarried, isNode, h.carried)
	h.routeDraining()
	h.mux.Handle("GET "+routeEvents, h.metrics.measure(routeEvents, h.only(isAggregator, h.events)))
	h.keys()
	h.diagnosis()
	h.mux.Handle("/", h.metrics.measure("unknown", http.HandlerFunc(h.unknown)))
	return h
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(nodeHeader, h.o.Node)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	defer func() {
		if panicked := recover(); panicked != nil {
			h.fail(w, r, fmt.Errorf("panic: %v\n%s", panicked, debug.Stack()))
		}
	}()
	h.mux.ServeHTTP(w, r)
}

// EndStreams ends the event streams, which otherwise last as long as their callers. Call it before the server is shut
// down.
func (h *Handler) EndStreams() { h.end.Do(func() { close(h.ending) }) }

// answer routes an aggregator's GET requests to a function that gives the answer's JSON.
func (h *Handler) answer(route string, ask func(*http.Request) (any, error)) {
	h.handle(http.MethodGet, route, isAggregator, func(r *http.Request, _ Caller) (any, error) { return ask(r) })
}

func isAggregator(c Caller) bool { return c.Aggregator }

// handle routes requests of those that may make them to a function that gives the answer's JSON.
func (h *Handler) handle(method, route string, may func(Caller) bool, ask func(*http.Request, Caller) (any, error)) {
	h.mux.Handle(method+" "+route, h.metrics.measure(route, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), h.o.Timeout)
		defer cancel()
		caller, err := h.caller(r, may)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		value, err := ask(r.WithContext(ctx), caller)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		status := http.StatusOK
		if health, ok := value.(*Health); ok && !health.Healthy {
			status = http.StatusServiceUnavailable
		}
		if err := writeJSON(w, r, status, value); err != nil {
			h.o.Log.Debug("node API answer not sent", zap.String("path", r.URL.Path), zap.Error(err))
		}
	})))
}

// only lets those through that may ask.
func (h *Handler) only(may func(Caller) bool, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := h.caller(r, may); err != nil {
			h.fail(w, r, err)
			return
		}
		next(w, r)
	})
}

// maxBody bounds what a caller may send.
const maxBody = 1 << 20

// caller tells who asks, if they may.
func (h *Handler) caller(r *http.Request, may func(Caller) bool) (Caller, error) {
	caller := Caller{Name: "aggregator", Aggregator: true}
	if h.o.Caller != nil {
		var err error
		if caller, err = h.o.Caller(r.TLS); err != nil {
			return Caller{}, fleet.Errorf(fleet.CodeForbidden, "%v", err)
		}
	}
	if !may(caller) {
		return Caller{}, fleet.Errorf(fleet.CodeForbidden, "%s may not ask this", caller.Name)
	}
	return caller, nil
}

func (h *Handler) health(r *http.Request) (any, error) {
	health := &Health{Healthy: true, Checks: h.o.Info(r.Context()).Checks}
	for _, check := range health.Checks {
		health.Healthy = health.Healthy && check.OK
	}
	return health, nil
}

func (h *Handler) messages(r *http.Request) (any, error) {
	q, err := fleet.ParseQuery(r.URL.Query(), h.o.Now())
	if err != nil {
		return nil, err
	}
	return h.o.Store.Messages(r.Context(), q)
}

func (h *Handler) message(r *http.Request) (any, error) {
	id, err := fleet.ParseMessageID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return h.o.Store.Message(r.Context(), id)
}

func (h *Handler) transcripts(r *http.Request) (any, error) {
	id, err := fleet.ParseMessageID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	list, err := h.o.Store.Transcripts(r.Context(), id)
	return &Transcripts{Transcripts: list}, err
}

func (h *Handler) stats(r *http.Request) (any, error) {
	q, err := fleet.ParseStatsQuery(r.URL.Query(), h.o.Now())
	if err != nil {
		return nil, err
	}
	return h.o.Store.Stats(r.Context(), q)
}

// unknown answers requests that a later version of the API may know.
func (h *Handler) unknown(w http.ResponseWriter, r *http.Request) {
	h.fail(w, r, fleet.Errorf(fleet.CodeUnsupported, "this version of the node API has no %s %s", r.Method,
		strconv.QuoteToASCII(r.URL.Path)))
}

// fail answers with an error. Its inside goes to the log, unless it is the caller's own or the caller has gone.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case r.Context().Err() != nil:
		return
	case errors.Is(err, context.DeadlineExceeded):
		err = fleet.Errorf(fleet.CodeUnavailable, "the node found no answer within %s", h.o.Timeout)
	case fleet.CodeOf(err) == fleet.CodeInternal:
		h.o.Log.Error("node API request not answered", zap.String("path", r.URL.Path), zap.Error(err))
	}
	httperr.WriteJSON(w, err)
}
