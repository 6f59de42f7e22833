package aggregator

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// throttle bounds how fast passwords can be tried, for each user name and for each address. A right password gives back
// what its attempt took, so only failures count.
type throttle struct {
	users     *limiters
	addresses *limiters
}

func newThrottle() *throttle {
	return &throttle{
		users:     newLimiters(rate.Every(12*time.Second), 5),
		addresses: newLimiters(rate.Every(3*time.Second), 20),
	}
}

// attempt takes one attempt. When wait isn't zero it was one too many and must not be tried before wait is over;
// otherwise succeeded gives the attempt back.
func (t *throttle) attempt(user, address string, now time.Time) (succeeded func(), wait time.Duration) {
	ofAddress, wait := t.addresses.take(network(address), now)
	if wait > 0 {
		return nil, wait
	}
	ofUser, wait := t.users.take(clip(user, maxThrottled), now)
	if wait > 0 {
		return nil, wait
	}
	return func() {
		ofAddress.CancelAt(now)
		ofUser.CancelAt(now)
	}, 0
}

// network is what one person behind an address is counted by: the address itself, or the /64 of an IPv6 address.
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Unmap().Is4() {
		return address
	}
	prefix, _ := addr.Prefix(64) // an IPv6 address has a /64
	return prefix.String()
}

// limiters keeps a limiter a key, and no more than maxLimiters of them.
type limiters struct {
	every rate.Limit
	burst int

	mu    sync.Mutex
	byKey map[string]*rate.Limiter
}

const maxLimiters = 10_000

// maxThrottled is how much of a typed user name tells it from others, in bytes: real ones are shorter, and strangers who
// type longer ones must not fill the memory.
const maxThrottled = 100

// maxStranger is how many audit entries a stranger gets before they become sparse.
const maxStranger = 20

func newLimiters(every rate.Limit, burst int) *limiters {
	return &limiters{every: every, burst: burst, byKey: map[string]*rate.Limiter{}}
}

func (l *limiters) take(key string, now time.Time) (*rate.Reservation, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.byKey[key]
	if limiter == nil {
		l.makeRoom(now)
		limiter = rate.NewLimiter(l.every, l.burst)
		l.byKey[key] = limiter
	}
	reservation := limiter.ReserveN(now, 1)
	if wait := reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return nil, wait
	}
	return reservation, 0
}

// makeRoom drops the limiters that are full again, which forgets nothing. When most are in use it drops any tenth of
// them, so that a flood of made-up names can neither fill the memory nor make each attempt look at all of them.
func (l *limiters) makeRoom(now time.Time) {
	if len(l.byKey) < maxLimiters {
		return
	}
	for key, limiter := range l.byKey {
		if limiter.TokensAt(now) >= float64(l.burst) {
			delete(l.byKey, key)
		}
	}
	for key := range l.byKey {
		if len(l.byKey) <= maxLimiters*9/10 {
			return
		}
		delete(l.byKey, key)
	}
}
