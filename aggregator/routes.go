package aggregator

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

// routeKind says how a route treats a request that it refuses, and what it is allowed to do.
type routeKind int

const (
	page   routeKind = iota // HTML for a person: sends to the sign-in page, never cached
	asset                   // a static file: no account needed, cached
	api                     // JSON for programs: 401 and 403 as JSON, never cached; takes tokens
	stream                  // server-sent events: like page or api, but no write deadline
)

// route is one line of the table that says who may ask what. A request that no route matches gets nothing.
type route struct {
	Name    string // unique; label of the metrics
	Method  string // GET routes answer HEAD too, but for streams
	Path    string // gorilla/mux template, e.g. /messages/{node}/{id}
	Prefix  bool   // Path is a prefix
	Kind    routeKind
	Role    accounts.Role // at least; Nobody: no account needed
	Audit   Action        // what the audit log says of it; empty: nothing, but for tokens
	Handler http.HandlerFunc
}

// routes are all of them: the only place that decides who gets what.
func (s *Server) routes() []route {
	var all []route
	all = append(all, s.signInRoutes()...)
	all = append(all, s.apiRoutes()...)
	all = append(all, s.pageRoutes()...)
	all = append(all, s.relayRoutes()...)
	all = append(all, s.orderRoutes()...)
	all = append(all, s.keyRoutes()...)
	all = append(all, s.diagnoseRoutes()...)
	return all
}

func (s *Server) router() http.Handler {
	router := mux.NewRouter().UseEncodedPath()
	for _, one := range s.routes() {
		var matcher *mux.Route
		if one.Prefix {
			matcher = router.PathPrefix(one.Path)
		} else {
			matcher = router.Path(one.Path)
		}
		methods := []string{one.Method}
		if one.Method == http.MethodGet && one.Kind != stream {
			methods = append(methods, http.MethodHead)
		}
		matcher.Methods(methods...).Name(one.Name).Handler(s.guard(one))
	}
	router.NotFoundHandler = s.refuse(http.StatusNotFound)
	notAllowed := s.refuse(http.StatusMethodNotAllowed)
	router.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(methodsOf(router, r), ", "))
		notAllowed.ServeHTTP(w, r)
	})
	return router
}

// methodsOf are the methods that the routes of a request's path take: an answer 405 names them (RFC 9110 section 15.5.6).
func methodsOf(router *mux.Router, r *http.Request) (methods []string) {
	other := *r
	for _, other.Method = range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		var match mux.RouteMatch
		if router.Match(&other, &match) && match.MatchErr == nil {
			methods = append(methods, other.Method)
		}
	}
	return methods
}
