package aggregator

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/web"
	"github.com/postfleet/postfleet/internal/httperr"
)

// pageRoutes are the HTML pages and static files.
func (s *Server) pageRoutes() []route {
	get := func(name, path string, kind routeKind, audit Action, handler http.HandlerFunc) route {
		return route{Name: name, Method: http.MethodGet, Path: path, Kind: kind, Role: accounts.Viewer, Audit: audit, Handler: handler}
	}
	return []route{
		{Name: "asset", Method: http.MethodGet, Path: "/" + assetRoot + "/", Prefix: true, Kind: asset, Handler: s.pageAsset},
		{Name: "page_signin", Method: http.MethodGet, Path: "/login", Kind: page, Handler: s.pageSignIn},
		get("page_overview", "/", page, "", s.pageOverview),
		get("page_messages", "/messages", page, ActionMessages, s.pageMessages),
		get("page_live", "/messages/live", stream, ActionLive, s.pageLive),
		get("page_message", "/messages/{node}/{id}", page, ActionMessage, s.pageMessage),
		get("page_transcripts", "/messages/{node}/{id}/transcripts", page, ActionTranscript, s.pageTranscripts),
		get("page_nodes", "/nodes", page, "", s.pageNodes),
		get("page_trace", "/trace", page, ActionMessages, s.pageTrace),
		get("page_help", "/help", page, "", s.pageHelp),
	}
}

// pages renders the templates of the web directory.
type pages struct {
	assets *assets
	sets   map[string]*template.Template // by page: layout, parts and the page itself
}

// newPages parses every template, so that a fault in one shows at start and not at the first visit.
func newPages() (*pages, error) {
	files, err := newAssets()
	if err != nil {
		return nil, fmt.Errorf("read static files: %w", err)
	}
	p := &pages{assets: files, sets: map[string]*template.Template{}}
	base, err := template.New("layout").Funcs(p.functions()).ParseFS(web.Files, "templates/layout.html", "templates/parts/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse page layout: %w", err)
	}
	entries, err := web.Files.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".html")
		if entry.IsDir() || name == "layout" {
			continue
		}
		set, err := template.Must(base.Clone()).ParseFS(web.Files, path.Join("templates", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", name, err)
		}
		p.sets[name] = set
	}
	return p, nil
}

func (p *pages) functions() template.FuncMap {
	return template.FuncMap{
		"asset": p.assets.link, "visible": visible, "plain": plain, "clipped": clipped, "clipPlain": clipPlain,
		"size": sizeWords, "count": countWords[int], "count64": countWords[int64], "seconds": secondsWords, "duration": durationWords,
		"ago": agoWords, "agoLong": agoLongWords, "clock": clockWords, "exact": exactWords, "rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"plural": plural, "dsnNote": dsnNote, "statusMark": statusMark, "rowID": rowID, "anchor": transcriptAnchor,
		"clockDiff": clockDiffWords, "dict": dict, "join": strings.Join, "legend": legend, "hostPort": hostPort, "shortReply": shortReply, "noSubject": noSubject, "selectors": selectorNames,
		"addOne":     func(n int) int { return n + 1 },
		"drainWords": drainWords, "noRelay": noRelay, "drainIcon": drainIcon,
		"leg": newLegView, "branchMark": branchMark, "messageLink": messageLink, "timeOfDay": timeOfDay,
		"rowData": func(r row, now time.Time) rowData { return rowData{r, now} },
	}
}

// rowData is what the row template takes: it is rendered in the list and alone, for live rows.
type rowData struct {
	Row row
	Now time.Time
}

// dict makes the argument of a template that takes several.
func dict(pairs ...any) (map[string]any, error) {
	values := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is not a name", pairs[i])
		}
		values[name] = pairs[i+1]
	}
	return values, nil
}

// document is what the layout takes.
type document struct {
	Title  string
	Page   string
	Path   string // address of this page, for links back to it
	User   User
	Now    time.Time
	Body   any
	Signed bool   // somebody is signed in: show navigation
	Away   string // why discovery doesn't answer: what is shown is of the nodes known last
}

func (p *pages) execute(into *bytes.Buffer, page, name string, data any) error {
	set, ok := p.sets[page]
	if !ok {
		return fmt.Errorf("no page %s", page)
	}
	return set.ExecuteTemplate(into, name, data)
}

// render writes a page: first into memory, so that a fault becomes an error page and never half a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name, title string, body any) {
	user := userFrom(r.Context())
	doc := document{Title: title, Page: name, Path: r.URL.RequestURI(), User: user, Now: s.clock().UTC(), Body: body, Signed: user.Name != ""}
	if doc.Signed {
		doc.Away = s.fleet.DiscoveryAway()
	}
	var out bytes.Buffer
	if err := s.pages.execute(&out, name, "layout", doc); err != nil {
		s.log.Error("page not rendered", zap.String("page", name), zap.Error(err))
		http.Error(w, "This page could not be made; the log of the aggregator has the cause. Request "+requestID(r.Context()),
			http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // the browser may be gone; nobody else to tell
}

func (s *Server) pageHelp(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "help", "Help", nil)
}

func (s *Server) pageSignIn(w http.ResponseWriter, r *http.Request) {
	s.renderSignIn(w, r, http.StatusOK, signInForm{Next: r.URL.Query().Get("next")})
}

// renderSignIn shows the sign-in form, again after a failure.
func (s *Server) renderSignIn(w http.ResponseWriter, r *http.Request, status int, form signInForm) {
	s.render(w, r, status, "login", "Sign in", form)
}

// errorPage is a failure in words, with what can be done.
type errorPage struct {
	Status    int
	Heading   string
	Field     string
	Message   string
	Request   string // id under which the log has it
	OfMessage bool   // what was asked for is a message, or part of one
}

// renderError shows a failure as a page; only its public part.
func (s *Server) renderError(w http.ResponseWriter, r *http.Request, status int, err error) {
	public := httperr.Public(err)
	view := errorPage{Status: status, Heading: http.StatusText(status), Field: public.Field, Message: public.Message, Request: requestID(r.Context()),
		OfMessage: strings.HasPrefix(r.URL.Path, "/messages/")}
	s.render(w, r, status, "error", view.Heading, view)
}

func publicMessage(err error) string {
	public := httperr.Public(err)
	return public.Message
}
