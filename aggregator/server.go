package aggregator

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/advice"
)

// Options of a [Server].
type Options struct {
	Fleet    Fleet      // what there is to show
	DNS      DNSPlanner // nil: DNS is not asked
	Settings Settings   // of the whole fleet; nil: it keeps none in common

	Listen         string         // HOST:PORT for browsers and the JSON API; port 0 is any free one
	CertFile       string         // TLS certificate chain and key, PEM; without them Listen must be a loopback
	KeyFile        string         // address, or AllowPlain say that a proxy in front does TLS
	AllowPlain     bool           // plain HTTP on any address
	PublicURL      string         // https://HOST of a proxy in front; empty when browsers come straight here
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	MetricsListen  string         // loopback HOST:PORT for /metrics and /healthz; empty for none

	UsersFile  string
	TokensFile string
	AuditFile  string

	SessionIdle     time.Duration // a session without a request ends after it; 0 means DefaultSessionIdle
	SessionLifetime time.Duration // any session ends after it; 0 means DefaultSessionLifetime

	AdviceDir string // files that add to what is known about replies; empty for none, which need not be there

	Version  string
	Log      *zap.Logger
	Registry *prometheus.Registry // what MetricsListen shows; nil for one of its own
	Clock    func() time.Time     // nil for time.Now
}

// Defaults of the session times.
const (
	DefaultSessionIdle     = 4 * time.Hour
	DefaultSessionLifetime = 24 * time.Hour
)

// Timeouts of every request but streams, which have streamWrite for each piece that they write.
const (
	readTimeout  = 15 * time.Second
	writeTimeout = 60 * time.Second
	idleTimeout  = 2 * time.Minute
	streamWrite  = 30 * time.Second
)

// maxConnections is how many connections are served at a time. Strangers must not take the memory and the file descriptors
// that asking nodes needs; further ones wait.
const maxConnections = 1000

// ErrNoUsers tells that nobody could sign in. Its text says which command changes that.
var ErrNoUsers = errors.New("nobody can sign in")

var errNotLoopback = errors.New("is not on a loopback address")

// Server serves the pages and the JSON API. Make it with New, then Start it, then Shutdown.
type Server struct {
	fleet     Fleet
	dns       DNSPlanner // nil: DNS is not asked
	planning  singleflight.Group
	settings  Settings
	log       *zap.Logger
	clock     func() time.Time
	version   string
	proxies   []netip.Prefix
	users     *accounts.Users
	tokens    *accounts.Tokens
	sessions  *sessions
	throttle  *throttle
	strangers *limiters // of what the audit log says of them
	open      inUse     // event streams and exports
	running   inUse     // other requests
	auditLog  *auditLog
	metrics   *metrics
	pages     *pages
	advice    atomic.Pointer[advice.Book]
	adviceDir string
	cert      *certificate // nil without TLS

	listener        net.Listener
	http            *http.Server
	metricsListener net.Listener // nil without
	metricsHTTP     *http.Server
	streams         context.Context // ends when the server shuts down, before requests are waited for
	endStreams      context.CancelFunc
	standingCheck   time.Duration
}

// New opens the files and binds the listeners, so that everything that can be wrong is known before anything runs.
// ErrNoUsers: the users file is empty or missing.
func New(o Options) (_ *Server, err error) {
	s := &Server{open: inUse{most: maxStreams, words: "event streams and exports open"}, running: inUse{most: maxRequests, words: "requests running"}, fleet: o.Fleet, dns: o.DNS, settings: o.Settings, log: o.Log, clock: o.Clock, version: o.Version, proxies: o.TrustedProxies, throttle: newThrottle(),
		standingCheck: standingCheck, strangers: newLimiters(rate.Every(10*time.Second), maxStranger)}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.settings == nil {
		s.settings = NoSettings{}
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	if err := s.openAccounts(o); err != nil {
		return nil, err
	}
	if o.CertFile != "" {
		if s.cert, err = loadCertificate(o.CertFile, o.KeyFile, o.Log); err != nil {
			return nil, err
		}
	} else if !o.AllowPlain {
		if err := loopbackOnly("listener without TLS", o.Listen); err != nil {
			return nil, fmt.Errorf("%w: set a certificate, or allow plain HTTP where a proxy does TLS", err)
		}
	}
	s.sessions = newSessions(cmp.Or(o.SessionIdle, DefaultSessionIdle), cmp.Or(o.SessionLifetime, DefaultSessionLifetime),
		s.cert != nil || strings.HasPrefix(o.PublicURL, "https:"))
	s.metrics = newMetrics(o.Registry, func() float64 { return float64(s.sessions.count()) })
	if s.auditLog, err = openAudit(o.AuditFile, o.Log, s.metrics.auditFailed); err != nil {
		return nil, err
	}
	if s.listener, err = listen(o.Listen); err != nil {
		return nil, fmt.Errorf("aggregator: %w", err)
	}
	if o.MetricsListen != "" {
		if s.metricsHTTP, s.metricsListener, err = serveMetrics(o.MetricsListen, o.Registry); err != nil {
			return nil, fmt.Errorf("aggregator metrics: %w", err)
		}
	}
	if s.pages, err = newPages(); err != nil {
		return nil, err
	}
	s.adviceDir = o.AdviceDir
	if err := s.loadAdvice(); err != nil {
		return nil, err
	}
	handler, err := s.handler(o.PublicURL)
	if err != nil {
		return nil, err
	}
	s.streams, s.endStreams = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(o.Log.Named("http")),
	}
	return s, nil
}

func (s *Server) openAccounts(o Options) (err error) {
	warn := func(err error) { s.log.Error("changed file not taken; the accounts from before stay", zap.Error(err)) }
	if s.users, err = accounts.OpenUsers(o.UsersFile, warn); err != nil {
		return err
	}
	if s.users.Len() == 0 {
		return fmt.Errorf("%w: no user in %s; make one with: postfleet user add --file %s --role admin NAME",
			ErrNoUsers, o.UsersFile, o.UsersFile)
	}
	s.tokens, err = accounts.OpenTokens(o.TokensFile, warn)
	return err
}

// abandon closes what New had opened when something later went wrong.
func (s *Server) abandon() {
	if s.auditLog != nil {
		_ = s.auditLog.close()
	}
	for _, listener := range []net.Listener{s.listener, s.metricsListener} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}

func listen(address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// MetricsAddr is where /metrics and /healthz are, or nil.
func (s *Server) MetricsAddr() net.Addr {
	if s.metricsListener == nil {
		return nil
	}
	return s.metricsListener.Addr()
}

// CertificateExpires is when the certificate that browsers see ends; zero without TLS.
func (s *Server) CertificateExpires() time.Time { return s.cert.expires() }

// Start serves until Shutdown. It returns at once; what ends the serving otherwise goes to the log and to failed.
func (s *Server) Start(failed func(error)) {
	listener := netutil.LimitListener(s.listener, maxConnections)
	if s.cert != nil {
		listener = tls.NewListener(listener, s.cert.config())
	}
	serve := func(server *http.Server, listener net.Listener) {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serving ended", zap.Error(err))
			failed(err)
		}
	}
	go serve(s.http, listener)
	if s.metricsHTTP != nil {
		go serve(s.metricsHTTP, s.metricsListener)
	}
	s.log.Info("aggregator listens", zap.Stringer("address", s.Addr()), zap.Bool("tls", s.cert != nil))
}

// Reload takes a renewed certificate, opens the audit log anew and reads the advice of the site again. Users and tokens
// need none: they are read again whenever their files change.
func (s *Server) Reload() error {
	err := errors.Join(s.auditLog.reopen(), s.loadAdvice())
	if s.cert != nil {
		err = errors.Join(err, s.cert.reload())
	}
	return err
}

// loadAdvice reads what is known about replies; after an error what was known before stays.
func (s *Server) loadAdvice() error {
	book, err := advice.Load(s.adviceDir)
	if err != nil {
		return err
	}
	s.advice.Store(book)
	return nil
}

// Shutdown ends the streams, waits for running requests until ctx ends, and closes everything.
func (s *Server) Shutdown(ctx context.Context) error {
	s.endStreams()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if s.metricsHTTP != nil {
		err = errors.Join(err, s.metricsHTTP.Close())
	}
	s.sessions.endAll()
	return errors.Join(err, s.auditLog.close())
}

// loopbackOnly is an error unless the HOST of HOST:PORT is a loopback address.
func loopbackOnly(what, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if addr, err := netip.ParseAddr(host); host == "localhost" || err == nil && addr.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s: %s %w", what, address, errNotLoopback)
}
