package lab

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// TLSSink is a remote server that offers STARTTLS, keeps every message, and refuses recipients on request.
type TLSSink struct {
	Addr string // HOST:PORT

	refuse map[string]*smtp.SMTPError

	mu    sync.Mutex
	said  bytes.Buffer
	taken []Taken
}

// StartTLSSink runs such a server. Recipients whose local part is a key of refuse get that reply, such as
// "550 5.1.1 no such user".
func (l *Lab) StartTLSSink(refuse map[string]string) (*TLSSink, error) {
	cert, err := NewCertificate("mx.tls.example")
	if err != nil {
		return nil, err
	}
	addr, err := FreeAddr("127.0.0.1")
	if err != nil {
		return nil, err
	}
	s := &TLSSink{Addr: addr, refuse: map[string]*smtp.SMTPError{}}
	for local, reply := range refuse {
		refusal := &smtp.SMTPError{}
		enhanced := &refusal.EnhancedCode
		if _, err := fmt.Sscanf(reply, "%d %d.%d.%d", &refusal.Code, &enhanced[0], &enhanced[1], &enhanced[2]); err != nil {
			return nil, fmt.Errorf("start TLS sink: reply %q: %w", reply, err)
		}
		_, refusal.Message, _ = strings.Cut(reply[4:], " ")
		s.refuse[local] = refusal
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &tlsSession{sink: s}, nil }))
	server.Domain = "mx.tls.example"
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert.Pair}, MinVersion: tls.VersionTLS12}
	server.EnableSMTPUTF8 = true
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.Debug = debugWriter{s}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start TLS sink: %w", err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	l.OnClose("stop TLS sink", func() error {
		err := server.Close()
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return err
	})
	return s, nil
}

// Taken are the messages so far.
func (s *TLSSink) Taken() []Taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken)
}

// Said is everything that both sides said in plain text, replies and commands in their order. With several connections
// at a time they mix.
func (s *TLSSink) Said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.said.String(), "\r\n"), "\r\n")
}

type debugWriter struct{ sink *TLSSink }

func (w debugWriter) Write(p []byte) (int, error) {
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	return w.sink.said.Write(p)
}

// tlsSession is a connection's state (smtp.Session).
type tlsSession struct {
	sink *TLSSink
	mail Taken
}

func (s *tlsSession) Reset() { s.mail = Taken{} }

func (s *tlsSession) Logout() error { return nil }

func (s *tlsSession) Mail(from string, _ *smtp.MailOptions) error {
	s.mail = Taken{Sender: from}
	return nil
}

func (s *tlsSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	local, _, _ := strings.Cut(to, "@")
	if refusal := s.sink.refuse[local]; refusal != nil {
		return refusal
	}
	s.mail.Recipients = append(s.mail.Recipients, to)
	return nil
}

func (s *tlsSession) Data(content io.Reader) error {
	var err error
	if s.mail.Content, err = io.ReadAll(content); err != nil {
		return err
	}
	s.mail.Accepted = true
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.taken = append(s.sink.taken, s.mail)
	return nil
}
