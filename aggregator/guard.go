package aggregator

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// apiPrefix is where the JSON API lives.
const apiPrefix = "/api/v1"

// byItself is a header of what a page asks without its reader: no sign that somebody is there.
const byItself = "X-By-Itself"

func wantsJSON(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, apiPrefix+"/") }

// identifyUser finds out who asks: by token for the JSON API, by session cookie otherwise. A request with an
// Authorization header is judged by it alone.
func (s *Server) identifyUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, ended, err := s.userOf(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		accessOf(r).user = user.Name
		ctx := context.WithValue(r.Context(), keyUser, user)
		if ended != nil {
			ctx = context.WithValue(ctx, keySession, ended)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// userOf is who makes the request, and the context that ends with their session.
func (s *Server) userOf(r *http.Request) (User, context.Context, error) {
	if header := r.Header.Get("Authorization"); header != "" && wantsJSON(r) {
		token, ok := s.tokenIn(header)
		if !ok {
			s.metrics.signInFailed.WithLabelValues("token").Inc()
			s.auditStranger(r, Entry{Action: ActionTokenFailed})
			return User{}, nil, fleet.Errorf(fleet.CodeUnauthorized, "the token is not known here")
		}
		return User{Name: token.Name, Role: token.Role, Token: true}, nil, nil
	}
	look := s.sessions.find
	if r.Header.Get(byItself) != "" {
		look = s.sessions.peek
	}
	one := look(s.sessions.tokenOf(r))
	if one == nil {
		return User{}, nil, nil
	}
	account, there := s.accountOf(one)
	if !there {
		return User{}, nil, nil
	}
	return User{Name: account.Name, Role: account.Role}, one.ended, nil
}

// guard lets through to a route whom its line in the table allows.
func (s *Server) guard(one route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, user := accessOf(r), userFrom(r.Context())
		a.route, a.kind = one.Name, one.Kind
		switch {
		case user.Role.May(one.Role):
		case user.Role != accounts.Nobody:
			s.audit(r, Entry{Action: ActionRefused, Note: one.Name})
			s.fail(w, r, fleet.Errorf(fleet.CodeForbidden, "this needs the role %s; %s has %s", one.Role, user.Name, user.Role))
			return
		case one.Kind == page && r.Method == http.MethodGet && r.Header.Get("HX-Request") == "":
			http.Redirect(w, r, "/login?"+url.Values{"next": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
			return
		default:
			s.fail(w, r, fleet.Errorf(fleet.CodeUnauthorized, "sign in first"))
			return
		}
		if one.Role != accounts.Nobody {
			of := &s.running
			if one.Kind == stream {
				of = &s.open
			}
			end, err := of.begin(user)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			defer end()
		}
		s.auditUse(r, one)
		if one.Kind == stream {
			var cancel context.CancelFunc
			r, cancel = s.endless(w, r)
			defer cancel()
			go s.endWithRights(r, one.Role, cancel)
		}
		one.Handler(w, r)
	})
}

// auditUse writes down a use that is worth it. Whatever a token does is.
func (s *Server) auditUse(r *http.Request, one route) {
	action := one.Audit
	if action == "" && userFrom(r.Context()).Token {
		action = ActionToken
	}
	if action == "" {
		return
	}
	path := mux.Vars(r)
	s.audit(r, Entry{Action: action, Node: clip(path["node"], 80), Message: clip(path["id"], 40), Query: clip(r.URL.RawQuery, 2000),
		Note: one.Name})
}

// endless takes the deadlines off a stream; instead it ends with the session or the server, and each piece that it
// writes has a deadline of its own.
func (s *Server) endless(w http.ResponseWriter, r *http.Request) (*http.Request, context.CancelFunc) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})  // a writer without deadlines has none to take off
	_ = control.SetWriteDeadline(time.Time{}) // likewise
	ctx, cancel := context.WithCancel(r.Context())
	stops := []func() bool{context.AfterFunc(s.streams, cancel)}
	if ended, ok := r.Context().Value(keySession).(context.Context); ok {
		stops = append(stops, context.AfterFunc(ended, cancel))
	}
	return r.WithContext(ctx), func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// refuse answers requests that no route takes.
func (s *Server) refuse(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := fleet.Errorf(fleet.CodeNotFound, "there is nothing at %s", r.URL.Path)
		if status == http.StatusMethodNotAllowed {
			err.Message = "not with the method " + r.Method
		}
		if wantsJSON(r) {
			writeJSON(w, status, httperr.Body{Error: *err})
			return
		}
		s.renderError(w, r, status, err)
	})
}

// addressOf is who connected, or whom a trusted proxy says it speaks for: the last address of X-Forwarded-For that
// isn't itself a trusted proxy.
func (s *Server) addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil || !s.trusts(peer) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		if peer = hop; !s.trusts(hop) {
			break
		}
	}
	return peer.Unmap().String()
}

func (s *Server) trusts(addr netip.Addr) bool {
	for _, prefix := range s.proxies {
		if prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
