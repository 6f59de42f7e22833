package lab

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
)

// passwords is an authentication server for Postfix that speaks the Dovecot auth protocol (version 1.1), as much of it as
// smtpd asks for: AUTH PLAIN with an initial response.
type passwords struct {
	users    map[string]string
	listener net.Listener
	running  sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// Submission makes a Postfix option set that lets users (name to password) authenticate, over STARTTLS.
func (l *Lab) Submission(users map[string]string) (map[string]string, error) {
	cert, err := NewCertificate("submission.fleet.example")
	if err != nil {
		return nil, err
	}
	certPath, err := l.WriteFile("submission.pem", cert.PEM, 0o600)
	if err != nil {
		return nil, err
	}
	socket := l.Path("auth.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("start authentication server: %w", err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		return nil, err
	}
	p := &passwords{users: users, listener: listener, open: map[net.Conn]struct{}{}}
	p.running.Go(p.serve)
	l.OnClose("stop authentication server", p.stop)
	return map[string]string{
		"smtpd_sasl_auth_enable":   "yes",
		"smtpd_sasl_type":          "dovecot",
		"smtpd_sasl_path":          socket,
		"smtpd_tls_security_level": "may",
		"smtpd_tls_auth_only":      "yes",
		"smtpd_tls_cert_file":      certPath,
		"smtpd_tls_key_file":       certPath,
	}, nil
}

func (p *passwords) stop() error {
	err := p.listener.Close()
	p.mu.Lock()
	for conn := range p.open {
		conn.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
	return err
}

func (p *passwords) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open[conn] = struct{}{}
		p.mu.Unlock()
		p.running.Go(func() {
			defer conn.Close()
			p.talk(conn)
			p.mu.Lock()
			delete(p.open, conn)
			p.mu.Unlock()
		})
	}
}

func (p *passwords) talk(conn io.ReadWriter) {
	fmt.Fprintf(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t%d\nCUID\t1\nCOOKIE\t%s\nDONE\n", os.Getpid(), rand.Text())
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if fields[0] != "AUTH" || len(fields) < 3 {
			continue
		}
		if user, ok := p.check(fields[3:]); ok {
			fmt.Fprintf(conn, "OK\t%s\tuser=%s\n", fields[1], user)
		} else {
			fmt.Fprintf(conn, "FAIL\t%s\n", fields[1])
		}
	}
}

// check looks at the initial response of SASL PLAIN (RFC 4616): authorisation identity, user, password.
func (p *passwords) check(parameters []string) (user string, ok bool) {
	for _, parameter := range parameters {
		response, found := strings.CutPrefix(parameter, "resp=")
		if !found {
			continue
		}
		plain, err := base64.StdEncoding.DecodeString(response)
		parts := strings.Split(string(plain), "\x00")
		if err != nil || len(parts) != 3 {
			return "", false
		}
		password, known := p.users[parts[1]]
		return parts[1], known && password == parts[2]
	}
	return "", false
}
