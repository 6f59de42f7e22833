package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Tap stands between Postfix and a server and records what both say: an account of every conversation that owes nothing
// to Postfix's log. It understands plain SMTP; behind STARTTLS it sees noise.
type Tap struct {
	Addr string // HOST:PORT to send to

	server   string
	listener net.Listener
	running  sync.WaitGroup

	mu            sync.Mutex
	open          map[net.Conn]struct{}
	conversations []*Conversation
}

// Conversation is one connection.
type Conversation struct {
	Started time.Time
	Lines   []TapLine // commands and replies; not the content of messages
	Taken   []Taken
	Answers []Answer
}

// Answer is the server's last word about one recipient of one message: the reply that refused it at RCPT TO, the reply
// to the content, or nothing when the connection ended first.
type Answer struct {
	Recipient string
	Reply     string
}

// TapLine is a line without its CR LF.
type TapLine struct {
	Time   time.Time
	Client bool // the client said it
	Text   string
}

// Taken is a message that the server answered for after its final dot.
type Taken struct {
	Sender     string
	Recipients []string // those that the server had accepted
	Content    []byte   // with CR LF, dots unstuffed
	Reply      string
	Accepted   bool
}

// StartTap records what is said to the server at HOST:PORT.
func (l *Lab) StartTap(server string) (*Tap, error) {
	addr, err := FreeAddr("127.0.0.1")
	if err != nil {
		return nil, err
	}
	return l.StartTapAt(addr, server)
}

// StartTapAt does so at an address of the caller's choice.
func (l *Lab) StartTapAt(addr, server string) (*Tap, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start tap: %w", err)
	}
	t := &Tap{Addr: addr, server: server, listener: listener, open: map[net.Conn]struct{}{}}
	t.running.Go(t.accept)
	l.OnClose("stop tap", t.stop)
	return t, nil
}

func (t *Tap) stop() error {
	err := t.listener.Close()
	t.mu.Lock()
	for conn := range t.open {
		conn.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
	return err
}

func (t *Tap) accept() {
	for {
		client, err := t.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", t.server)
		if err != nil {
			client.Close() // as a server that is down would look
			continue
		}
		t.mu.Lock()
		c := &Conversation{Started: time.Now()}
		t.conversations = append(t.conversations, c)
		t.open[client], t.open[server] = struct{}{}, struct{}{}
		t.mu.Unlock()
		t.running.Go(func() { t.join(c, client, server) })
	}
}

func (t *Tap) join(c *Conversation, client, server net.Conn) {
	r := &recorder{tap: t, conversation: c, pending: []string{"CONNECT"}}
	var both sync.WaitGroup
	pass := func(from, to net.Conn, record func(string)) {
		defer to.Close()
		reader := bufio.NewReaderSize(from, 64<<10)
		for {
			line, err := reader.ReadString('\n')
			if line != "" {
				record(strings.TrimRight(line, "\r\n"))
				if _, err := io.WriteString(to, line); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	both.Go(func() { pass(client, server, r.client) })
	both.Go(func() { pass(server, client, r.server) })
	both.Wait()
	client.Close()
	server.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	r.ended()
	delete(t.open, client)
	delete(t.open, server)
}

// Conversations are those so far; the copies don't change any more.
func (t *Tap) Conversations() []Conversation {
	t.mu.Lock()
	defer t.mu.Unlock()
	copies := make([]Conversation, len(t.conversations))
	for i, c := range t.conversations {
		copies[i] = Conversation{c.Started, slices.Clone(c.Lines), slices.Clone(c.Taken), slices.Clone(c.Answers)}
	}
	return copies
}

// Taken are the messages of all conversations.
func (t *Tap) Taken() (all []Taken) {
	for _, c := range t.Conversations() {
		all = append(all, c.Taken...)
	}
	return all
}

// Answers are the last words about all recipients so far, by address, one each time that the server was asked.
func (t *Tap) Answers() map[string][]string {
	answers := map[string][]string{}
	for _, c := range t.Conversations() {
		for _, a := range c.Answers {
			answers[a.Recipient] = append(answers[a.Recipient], a.Reply)
		}
	}
	return answers
}

// recorder follows one conversation far enough to tell content from commands.
type recorder struct {
	tap          *Tap
	conversation *Conversation

	pending []string // commands without a reply yet, oldest first (RFC 2920)
	content bool     // between 354 and the final dot
	mail    Taken
}

func (r *recorder) line(client bool, text string) {
	r.conversation.Lines = append(r.conversation.Lines, TapLine{time.Now(), client, text})
}

func (r *recorder) client(text string) {
	r.tap.mu.Lock()
	defer r.tap.mu.Unlock()
	if r.content && text != "." {
		r.mail.Content = append(append(r.mail.Content, strings.TrimPrefix(text, ".")...), '\r', '\n')
		return
	}
	r.content = false
	r.line(true, text)
	r.pending = append(r.pending, text)
}

func (r *recorder) server(text string) {
	r.tap.mu.Lock()
	defer r.tap.mu.Unlock()
	r.line(false, text)
	if len(text) >= 4 && text[3] == '-' || len(r.pending) == 0 {
		return
	}
	command := r.pending[0]
	r.pending = r.pending[1:]
	ok := strings.HasPrefix(text, "2")
	verb, argument, _ := strings.Cut(command, ":")
	switch strings.ToUpper(verb) {
	case "MAIL FROM":
		r.mail = Taken{Sender: address(argument)}
	case "RCPT TO":
		if ok {
			r.mail.Recipients = append(r.mail.Recipients, address(argument))
		} else {
			r.answer(text, address(argument))
		}
	case "DATA":
		if r.content = strings.HasPrefix(text, "354"); !r.content {
			r.answer(text, r.mail.Recipients...)
			r.mail = Taken{}
		}
	case ".":
		r.mail.Reply, r.mail.Accepted = text, ok
		r.conversation.Taken = append(r.conversation.Taken, r.mail)
		r.answer(text, r.mail.Recipients...)
		r.mail = Taken{}
	}
}

func (r *recorder) answer(reply string, recipients ...string) {
	for _, recipient := range recipients {
		r.conversation.Answers = append(r.conversation.Answers, Answer{recipient, reply})
	}
}

// ended notes the recipients that were left without an answer.
func (r *recorder) ended() {
	for _, command := range r.pending {
		if verb, argument, _ := strings.Cut(command, ":"); strings.EqualFold(verb, "RCPT TO") {
			r.answer("", address(argument))
		}
	}
	r.answer("", r.mail.Recipients...)
}

// address is what stands between the angle brackets of a MAIL or RCPT argument.
func address(argument string) string {
	_, after, _ := strings.Cut(argument, "<")
	inner, _, _ := strings.Cut(after, ">")
	return inner
}
