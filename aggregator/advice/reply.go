package advice

import (
	"regexp"
	"strings"
)

// Reply is what was said about a mail.
type Reply struct {
	Text string // as Postfix logged it
	DSN  string // enhanced status code (RFC 3463), where known
	Host string // that the mail was offered to, where there was one
	// Session: the node said it to the client that handed the mail in.
	Session bool
}

// statement is a reply taken apart.
type statement struct {
	by   Speaker
	host string
	code string // three digits (RFC 5321 section 4.2)
	dsn  string
	text string // what was said, in one line, without the codes that begin its lines
}

// mostText of a reply is looked at, in bytes: the longest of the large providers have 800. It bounds what a hostile server
// can make a look-up cost.
const mostText = 1024

// The words around a server's reply in Postfix's log: smtp_chat(3) and smtp_trouble(3) of Postfix make them.
var (
	saidBy    = regexp.MustCompile(`^host (\S+)\[[^\]]*\](?::\d+)? (?:said|refused to talk to me): `)
	refusedBy = regexp.MustCompile(`^connect to (\S+)\[[^\]]*\](?::\d+)?: server refused to talk to me: `)
	suspended = "delivery temporarily suspended: "
	leading   = regexp.MustCompile(`^([245]\d\d)[ -]?(?:\s*#?([245]\.\d{1,3}\.\d{1,3})\b)?`)
	onlyDSN   = regexp.MustCompile(`^([245]\.\d{1,3}\.\d{1,3})\s`)
	// continued is where a line of a reply of several lines began, before they were joined.
	continued = regexp.MustCompile(`(?:^|\s)[245]\d\d[ -](?:\s*[245]\.\d{1,3}\.\d{1,3}\s)?`)
	replyTo   = regexp.MustCompile(` \(in reply to [A-Za-z ]+ command\)$`)
	blanks    = regexp.MustCompile(`\s+`)
)

func (r Reply) read() statement {
	text := r.Text
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "")
	}
	text = strings.TrimSpace(blanks.ReplaceAllString(text, " "))
	text = replyTo.ReplaceAllString(strings.TrimPrefix(text, suspended), "")
	s := statement{by: Node, host: domainName(r.Host), dsn: r.DSN}
	for _, frame := range []*regexp.Regexp{saidBy, refusedBy} {
		if at := frame.FindStringSubmatchIndex(text); at != nil {
			s.by, s.host = Server, domainName(text[at[2]:at[3]])
			text = text[at[1]:]
			break
		}
	}
	if m := leading.FindStringSubmatch(text); m != nil {
		if s.by == Node {
			s.by = Server // Postfix's own reasons begin with no code
		}
		s.code, s.dsn = m[1], first(s.dsn, m[2])
		text = continued.ReplaceAllString(text, " ")
	} else if m := onlyDSN.FindStringSubmatch(text); m != nil {
		s.dsn = first(s.dsn, m[1])
	}
	if r.Session {
		s.by = Session
	}
	s.text = strings.TrimSpace(blanks.ReplaceAllString(text, " "))
	if s.text == "" {
		s.text = first(s.code, s.dsn)
	}
	if strings.HasPrefix(first(s.dsn, s.code), "2") {
		return statement{}
	}
	return s
}

func domainName(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
