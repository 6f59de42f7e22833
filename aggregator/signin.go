package aggregator

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

// signInForm is what the sign-in page shows: filled in again, with a message, after a failure.
type signInForm struct {
	User    string
	Next    string // where to go afterwards; a path on this site
	Message string
}

const maxSignInBody = 16 << 10

func (s *Server) signInRoutes() []route {
	return []route{
		{Name: "sign_in", Method: http.MethodPost, Path: "/login", Kind: page, Role: accounts.Nobody, Handler: s.signIn},
		{Name: "sign_out", Method: http.MethodPost, Path: "/logout", Kind: page, Role: accounts.Nobody, Handler: s.signOut},
	}
}

// signIn checks the form's user and password and begins a session under a new token, whatever token the browser had.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	if !s.readForm(w, r, maxSignInBody) {
		return
	}
	form := signInForm{User: r.PostForm.Get("user"), Next: localPath(r.PostForm.Get("next"))}
	succeeded, wait := s.throttle.attempt(form.User, clientAddress(r), s.clock())
	if wait > 0 {
		s.throttled(w, r, form, wait)
		return
	}
	user, err := s.users.Verify(r.Context(), form.User, r.PostForm.Get("password"))
	switch {
	case errors.Is(err, accounts.ErrWrongPassword):
		s.metrics.signInFailed.WithLabelValues("password").Inc()
		s.audit(r, Entry{Action: ActionSignInFailed, User: clip(form.User, 80), Note: "password"})
		form.Message = "Wrong user name or password."
		s.renderSignIn(w, r, http.StatusUnauthorized, form)
		return
	case err != nil:
		s.fail(w, r, fmt.Errorf("sign in: %w", err))
		return
	}
	succeeded()
	if old := s.sessions.find(s.sessions.tokenOf(r)); old != nil {
		old.end()
	}
	s.sessions.setCookie(w, s.sessions.begin(user.Name, user.Fingerprint()))
	s.audit(r, Entry{Action: ActionSignIn, User: user.Name, Role: user.Role.String()})
	http.Redirect(w, r, form.Next, http.StatusSeeOther)
}

func (s *Server) throttled(w http.ResponseWriter, r *http.Request, form signInForm, wait time.Duration) {
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	s.metrics.signInFailed.WithLabelValues("throttled").Inc()
	s.auditStranger(r, Entry{Action: ActionSignInFailed, User: clip(form.User, 80), Note: "throttled"})
	form.Message = "Too many attempts. Try again in " + seconds + " s."
	w.Header().Set("Retry-After", seconds)
	s.renderSignIn(w, r, http.StatusTooManyRequests, form)
}

// signOut ends the session, and with it every stream to that browser.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if one := s.sessions.find(s.sessions.tokenOf(r)); one != nil {
		s.audit(r, Entry{Action: ActionSignOut})
		one.end()
	}
	s.sessions.setCookie(w, "")
	w.Header().Set("Clear-Site-Data", `"cache"`)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// localPath is next if it leads to a page of this site, and the start page otherwise. Browsers read a backslash as a
// slash and drop control characters, so neither may hide another host.
func localPath(next string) string {
	hostile := strings.ContainsFunc(next, func(c rune) bool { return c == '\\' || c < ' ' || c == 0x7f })
	if hostile || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || len(next) > 4096 {
		return "/"
	}
	return next
}

func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
