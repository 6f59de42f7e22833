package aggregator

import (
	"net/http"
	"strings"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

// standingCheck is how often the rights of a running stream are looked at. Other requests are judged when they come.
const standingCheck = 5 * time.Second

// endWithRights ends a stream when whoever opened it may no longer have it: a session whose user was removed or has a new
// password, a token that was taken back, a role that isn't enough any more. It returns when the stream has ended.
func (s *Server) endWithRights(r *http.Request, needs accounts.Role, end func()) {
	look := time.NewTicker(s.standingCheck)
	defer look.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-look.C:
			if !s.standing(r).May(needs) {
				end()
				return
			}
		}
	}
}

// standing is the role that whoever made the request has at this moment. It is no sign of life of their session.
func (s *Server) standing(r *http.Request) accounts.Role {
	if userFrom(r.Context()).Token {
		token, _ := s.tokenIn(r.Header.Get("Authorization"))
		return token.Role
	}
	one := s.sessions.peek(s.sessions.tokenOf(r))
	if one == nil {
		return accounts.Nobody
	}
	account, _ := s.accountOf(one)
	return account.Role
}

// accountOf is whose session it is. A session whose user was removed, or has a new password, ends here.
func (s *Server) accountOf(one *session) (accounts.User, bool) {
	account, there := s.users.Lookup(one.user)
	if !there || account.Fingerprint() != one.password {
		one.end()
		return accounts.User{}, false
	}
	return account, true
}

// tokenIn is the token of an Authorization header (RFC 6750 section 2.1), if it is known.
func (s *Server) tokenIn(header string) (accounts.Token, bool) {
	scheme, secret, _ := strings.Cut(header, " ")
	token, ok := s.tokens.Verify(strings.TrimSpace(secret))
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return accounts.Token{}, false
	}
	return token, true
}
