package aggregator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// session is one signed-in browser. Its context ends with it, and everything that streams to that browser ends with the
// context.
type session struct {
	user     string
	password string // fingerprint of the password hash at sign-in; another one now means that it was changed since
	ended    context.Context
	end      func()
	idle     *time.Timer
	note     atomic.Pointer[note]
}

// sessions are kept in memory: a restart signs everybody out. Only a hash of each token is kept, so that a memory dump
// or a log line is no way in.
type sessions struct {
	idle     time.Duration // ends a session without a request for so long
	lifetime time.Duration // ends any session so long after sign-in
	secure   bool          // the cookie travels over TLS alone

	mu     sync.Mutex
	byHash map[[sha256.Size]byte]*session
}

func newSessions(idle, lifetime time.Duration, secure bool) *sessions {
	return &sessions{idle: idle, lifetime: lifetime, secure: secure, byHash: map[[sha256.Size]byte]*session{}}
}

// begin makes a session for a user who has just proven who they are, and gives the token for their cookie.
func (ss *sessions) begin(user, password string) (token string) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	token = base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(token))
	ended, cancel := context.WithDeadline(context.Background(), time.Now().Add(ss.lifetime))
	one := &session{user: user, password: password, ended: ended}
	one.idle = time.AfterFunc(ss.idle, cancel)
	one.end = func() {
		cancel()
		ss.forget(hash, one)
	}
	ss.mu.Lock()
	ss.byHash[hash] = one
	ss.mu.Unlock()
	context.AfterFunc(ended, func() { ss.forget(hash, one) })
	return token
}

func (ss *sessions) forget(hash [sha256.Size]byte, one *session) {
	one.idle.Stop()
	ss.mu.Lock()
	delete(ss.byHash, hash)
	ss.mu.Unlock()
}

// find is the running session of a token, or nil. It counts as a sign of life.
func (ss *sessions) find(token string) *session {
	one := ss.peek(token)
	if one != nil {
		one.idle.Reset(ss.idle)
	}
	return one
}

// peek is find without counting as a sign of life.
func (ss *sessions) peek(token string) *session {
	if token == "" {
		return nil
	}
	hash := sha256.Sum256([]byte(token))
	ss.mu.Lock()
	one := ss.byHash[hash]
	ss.mu.Unlock()
	if one == nil || one.ended.Err() != nil {
		return nil
	}
	return one
}

// count is how many sessions there are.
func (ss *sessions) count() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.byHash)
}

// endAll ends every session.
func (ss *sessions) endAll() {
	ss.mu.Lock()
	var all []*session
	for _, one := range ss.byHash {
		all = append(all, one)
	}
	ss.mu.Unlock()
	for _, one := range all {
		one.end()
	}
}

// cookieName has the __Host- prefix where the cookie is Secure: browsers then take it from this very host alone, over
// TLS, for the whole site (RFC 6265bis section 4.1.3.2).
func (ss *sessions) cookieName() string {
	if ss.secure {
		return "__Host-postfleet"
	}
	return "postfleet"
}

func (ss *sessions) tokenOf(r *http.Request) string {
	cookie, err := r.Cookie(ss.cookieName())
	if err != nil {
		return ""
	}
	return cookie.Value
}

// setCookie gives the browser its token; an empty one takes it away. The cookie lives as long as the browser runs: how
// long a session lasts is decided here, not there.
func (ss *sessions) setCookie(w http.ResponseWriter, token string) {
	cookie := &http.Cookie{
		Name: ss.cookieName(), Value: token, Path: "/",
		Secure: ss.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if token == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}
