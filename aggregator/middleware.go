package aggregator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// access collects what the access log and the metrics tell of a request.
type access struct {
	address string
	route   string
	kind    routeKind
	user    string
}

// handler is everything around the routes, outermost first. publicURL is how browsers see this site where a proxy is in
// between; empty where none is.
func (s *Server) handler(publicURL string) (http.Handler, error) {
	origins := http.NewCrossOriginProtection()
	if publicURL != "" {
		if err := origins.AddTrustedOrigin(publicURL); err != nil {
			return nil, fmt.Errorf("public URL: %w", err)
		}
	}
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, fleet.Errorf(fleet.CodeForbidden, "the request came from another site"))
	}))
	return s.identifyRequest(s.observe(s.secure(s.recoverPanic(origins.Handler(s.identifyUser(s.router())))))), nil
}

// identifyRequest gives the request an id, which the answer carries and every log line about it has.
func (s *Server) identifyRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := make([]byte, 8)
		_, _ = rand.Read(raw) // never fails (crypto/rand)
		id := hex.EncodeToString(raw)
		w.Header().Set("X-Request-Id", id)
		ctx := context.WithValue(r.Context(), keyRequestID, id)
		ctx = context.WithValue(ctx, keyAccess, &access{address: s.addressOf(r), route: "none"})
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func accessOf(r *http.Request) *access {
	a, ok := r.Context().Value(keyAccess).(*access)
	if !ok {
		return &access{}
	}
	return a
}

// clientAddress is the address of the person or program that asks, behind any trusted proxy.
func clientAddress(r *http.Request) string { return accessOf(r).address }

// observe writes the access log and counts.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		watched := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { // an answer that was broken off with a panic counts too
			took, a := time.Since(began), accessOf(r)
			s.metrics.requests.WithLabelValues(a.route, strconv.Itoa(watched.status)).Inc()
			if a.kind != stream {
				s.metrics.seconds.WithLabelValues(a.route).Observe(took.Seconds())
			}
			s.log.Info("request", zap.String("request", requestID(r.Context())), zap.String("method", r.Method),
				zap.String("path", r.URL.EscapedPath()), zap.String("route", a.route), zap.Int("status", watched.status),
				zap.Int64("bytes", watched.bytes), zap.Duration("took", took), zap.String("address", a.address),
				zap.String("user", a.user))
		}()
		next.ServeHTTP(watched, r)
	})
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status  int
	bytes   int64
	started bool
}

func (w *statusWriter) WriteHeader(status int) {
	if !w.started {
		w.status, w.started = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.started = true
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the deadlines and the flushing below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// contentPolicy allows what this site serves and nothing else: no inline script or style, no framing, no other host.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secure sets the headers that hold for every answer. Caching is forbidden here and allowed again for static files.
func (s *Server) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cache-Control", "no-store")
		if s.sessions.secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// recoverPanic answers a panic with 500 and the request's id; the inside goes to the log.
func (s *Server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			s.metrics.panics.Inc()
			s.log.Error("panic", zap.String("request", requestID(r.Context())), zap.Any("cause", cause),
				zap.ByteString("stack", debug.Stack()))
			if watched, ok := w.(*statusWriter); ok && watched.started {
				panic(http.ErrAbortHandler) // half an answer must not look whole
			}
			s.fail(w, r, fmt.Errorf("panic: %v", cause))
		}()
		next.ServeHTTP(w, r)
	})
}

// fail answers with an error: JSON to programs, a page to people. One who went away is no fault of ours.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		err = fleet.Errorf(fleet.CodeUnavailable, "the request was given up")
	}
	if code := fleet.CodeOf(err); code == fleet.CodeInternal {
		s.log.Error("request failed", zap.String("request", requestID(r.Context())), zap.Error(err))
	}
	if wantsJSON(r) {
		if fleet.CodeOf(err) == fleet.CodeUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="postfleet"`) // RFC 6750 section 3
		}
		httperr.WriteJSON(w, err)
		return
	}
	s.renderError(w, r, httperr.Status(fleet.CodeOf(err)), err)
}
