package aggregator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Action is what the audit log tells about.
type Action string

// The actions that are written down.
const (
	ActionSignIn       Action = "sign_in"
	ActionSignInFailed Action = "sign_in_failed"
	ActionSignOut      Action = "sign_out"
	ActionMessages     Action = "view_messages" // a list with its filters
	ActionMessage      Action = "view_message"
	ActionTranscript   Action = "view_transcript"
	ActionExport       Action = "export"
	ActionLive         Action = "watch_live"
	ActionToken        Action = "token_use"
	ActionTokenFailed  Action = "token_refused"
	ActionRefused      Action = "refused" // a known user without the role
	ActionRelay        Action = "change_relay"
	ActionDrain        Action = "drain"
	ActionUndrain      Action = "undrain"
	ActionForget       Action = "forget"
	ActionDiagnose     Action = "diagnose"
	ActionTest         Action = "test_message"
)

// Entry is one line of the audit log: who, from where, did what, when.
type Entry struct {
	Time    time.Time `json:"time"`
	Action  Action    `json:"action"`
	User    string    `json:"user,omitempty"`
	Role    string    `json:"role,omitempty"`
	Token   bool      `json:"token,omitempty"`
	Address string    `json:"address"`
	Request string    `json:"request,omitempty"` // request id
	Node    string    `json:"node,omitempty"`
	Message string    `json:"message,omitempty"` // message id
	Query   string    `json:"query,omitempty"`
	Note    string    `json:"note,omitempty"`
	Before  string    `json:"before,omitempty"` // what was changed, as JSON
	After   string    `json:"after,omitempty"`
}

// auditLog appends entries to a file, which reopen opens anew after a rotation. Without a path they go to the daemon's
// log.
type auditLog struct {
	path   string
	log    *zap.Logger
	failed prometheus.Counter

	mu   sync.Mutex
	file *os.File
}

func openAudit(path string, log *zap.Logger, failed prometheus.Counter) (*auditLog, error) {
	a := &auditLog{path: path, log: log, failed: failed}
	return a, a.reopen()
}

// reopen opens the file at the path again, for rotation by rename.
func (a *auditLog) reopen() error {
	if a.path == "" {
		return nil
	}
	file, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	a.mu.Lock()
	old := a.file
	a.file = file
	a.mu.Unlock()
	if old != nil {
		_ = old.Close() // every entry was written through
	}
	return nil
}

// write appends an entry with one write call. A failure doesn't stop the request: it is logged, with the entry, and
// counted.
func (a *auditLog) write(e Entry) {
	if a.path == "" {
		a.log.Info("audit", zap.Any("entry", e))
		return
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // queries are full of &
	err := encoder.Encode(e)
	if err == nil {
		a.mu.Lock()
		_, err = a.file.Write(line.Bytes())
		a.mu.Unlock()
	}
	if err != nil {
		a.failed.Inc()
		a.log.Error("audit entry not written", zap.Error(err), zap.String("path", a.path), zap.Any("entry", e))
	}
}

func (a *auditLog) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}

// auditStranger writes down what somebody did who is nobody here: no more than maxStranger at once from one network, and
// one more every few seconds, so that strangers can't fill the disk. The metrics count them all.
func (s *Server) auditStranger(r *http.Request, e Entry) {
	if _, wait := s.strangers.take(network(clientAddress(r)), s.clock()); wait == 0 {
		s.audit(r, e)
	}
}

// audit writes down what the user of this request does; e needs only Action and what it is about.
func (s *Server) audit(r *http.Request, e Entry) {
	user := userFrom(r.Context())
	if e.User == "" {
		e.User = user.Name
	}
	if user.Name != "" {
		e.Role, e.Token = user.Role.String(), user.Token
	}
	e.Time, e.Address, e.Request = s.clock().UTC(), clientAddress(r), requestID(r.Context())
	for _, typed := range []*string{&e.User, &e.Node, &e.Message, &e.Query, &e.Note, &e.Before, &e.After} {
		*typed = plain(*typed) // the file is read on terminals
	}
	s.auditLog.write(e)
}
