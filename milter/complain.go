package milter

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// complainEvery is how often one message about misbehaving peers is logged at the most. Whoever reaches the socket can
// provoke it at will.
const complainEvery = 10 * time.Second

// complaints logs a message now and then, with the number of times it was due.
type complaints struct {
	mu   sync.Mutex
	last map[string]*complaint
}

type complaint struct {
	at     time.Time
	silent int
}

// warn logs a message, or counts it until the next one of its kind may be logged.
func (c *complaints) warn(log *zap.Logger, message string, fields ...zap.Field) {
	c.mu.Lock()
	if c.last == nil {
		c.last = map[string]*complaint{}
	}
	entry := c.last[message]
	if entry == nil {
		entry = &complaint{}
		c.last[message] = entry
	}
	now := time.Now()
	if now.Sub(entry.at) < complainEvery {
		entry.silent++
		c.mu.Unlock()
		return
	}
	silent := entry.silent
	*entry = complaint{at: now}
	c.mu.Unlock()
	if silent > 0 {
		fields = append(fields, zap.Int("more_of_these", silent))
	}
	log.Warn(message, fields...)
}
