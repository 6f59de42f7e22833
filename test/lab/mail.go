package lab

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"mime"
	"strings"
	"time"
)

// Mail is a message with its envelope.
type Mail struct {
	From string   // envelope sender; empty for a bounce
	To   []string // envelope recipients

	// HeaderFrom, Subject and Text make the content; HeaderFrom is From when empty.
	HeaderFrom string
	Subject    string
	Text       string
	ID         string // Message-ID without brackets; made up when empty
	Attachment []byte // adds a part report.bin
	UTF8       bool   // ask for SMTPUTF8 (RFC 6531)

	// Raw replaces all of the content.
	Raw []byte
}

// NewID makes up a Message-ID, without brackets.
func NewID() string { return strings.ToLower(rand.Text()) + "@client.example" }

// Content is the message with CR LF at the line ends.
func (m *Mail) Content() []byte {
	if m.Raw != nil {
		return m.Raw
	}
	if m.ID == "" {
		m.ID = NewID()
	}
	from := m.HeaderFrom
	if from == "" {
		from = "<" + m.From + ">"
	}
	var out bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&out, "%s: %s\r\n", name, value) }
	header("Date", time.Now().Format(time.RFC1123Z))
	header("From", from)
	header("To", "<"+strings.Join(m.To, ">,\r\n\t<")+">")
	header("Subject", mime.QEncoding.Encode("utf-8", m.Subject))
	header("Message-ID", "<"+m.ID+">")
	header("MIME-Version", "1.0")
	text := strings.ReplaceAll(m.Text, "\n", "\r\n")
	if m.Attachment == nil {
		header("Content-Type", "text/plain; charset=utf-8")
		header("Content-Transfer-Encoding", "8bit")
		out.WriteString("\r\n" + text + "\r\n")
		return out.Bytes()
	}
	const boundary = "=_postfleet_lab"
	header("Content-Type", `multipart/mixed; boundary="`+boundary+`"`)
	fmt.Fprintf(&out, "\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", boundary, text)
	fmt.Fprintf(&out, "--%s\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"+
		"Content-Disposition: attachment; filename=report.bin\r\n\r\n", boundary)
	encoded := base64.StdEncoding.EncodeToString(m.Attachment)
	for len(encoded) > 76 {
		out.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	fmt.Fprintf(&out, "%s\r\n--%s--\r\n", encoded, boundary)
	return out.Bytes()
}
