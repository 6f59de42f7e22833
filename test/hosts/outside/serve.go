package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/miekg/dns"
)

// serve answers DNS from a zone file, read again for every question, and appends every mail to a file as a line of JSON.
func serve(ctx context.Context, zone, mails string) error {
	out, err := os.OpenFile(mails, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	failed := make(chan error, 3)
	for _, network := range []string{"udp", "tcp"} {
		server := &dns.Server{Addr: ":53", Net: network, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { answer(w, q, zone) })}
		go func() { failed <- server.ListenAndServe() }()
	}
	sink := smtp.NewServer(&sink{out: out})
	sink.Addr, sink.Domain, sink.EnableSMTPUTF8 = ":25", "outside.example", true
	go func() { failed <- sink.ListenAndServe() }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// answer answers with authority for every name that is asked for.
func answer(w dns.ResponseWriter, q *dns.Msg, zone string) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	records, err := read(zone)
	if err != nil || len(q.Question) != 1 {
		m.Rcode = dns.RcodeServerFailure
		_ = w.WriteMsg(m)
		return
	}
	known := false
	for _, record := range records {
		if strings.EqualFold(record.Header().Name, q.Question[0].Name) {
			known = true
			if record.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, record)
			}
		}
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

func read(zone string) (records []dns.RR, err error) {
	file, err := os.Open(zone)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	parser := dns.NewZoneParser(file, ".", zone)
	parser.SetDefaultTTL(1)
	for record, ok := parser.Next(); ok; record, ok = parser.Next() {
		records = append(records, record)
	}
	return records, parser.Err()
}

// Mail is a line of the file with the mails that came.
type Mail struct {
	Time time.Time `json:"time"`
	Peer string    `json:"peer"`
	From string    `json:"from"`
	To   []string  `json:"to"`
	Data string    `json:"data"`
}

type sink struct {
	mu  sync.Mutex
	out *os.File
}

func (s *sink) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{sink: s, peer: c.Conn().RemoteAddr().String()}, nil
}

type session struct {
	sink *sink
	peer string
	from string
	to   []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error   { s.to = append(s.to, to); return nil }
func (s *session) Reset()                                      { s.from, s.to = "", nil }
func (s *session) Logout() error                               { return nil }

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	line, err := json.Marshal(Mail{time.Now(), s.peer, s.from, s.to, string(data)})
	if err != nil {
		return err
	}
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	_, err = s.sink.out.Write(append(line, '\n'))
	return errors.Join(err, s.sink.out.Sync())
}
