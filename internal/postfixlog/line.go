package postfixlog

import (
	"bytes"
	"time"
)

// line is a log line with its header taken apart. The slices point into the line that was fed: what is kept of them is
// copied.
type line struct {
	raw      []byte
	at       time.Time
	instance []byte // first part of syslog_name: "postfix", "postfix-out"
	service  []byte // the rest with the daemon's name: "smtpd", "submission/smtpd"
	daemon   []byte // the program: "smtpd", "qmgr", "smtp"
	pid      int
	level    level
	queueID  []byte // empty when the line names none; "NOQUEUE" is none
	noqueue  bool   // the line says NOQUEUE
	text     []byte // behind level and queue id
}

// level is the severity word that Postfix puts in front of anything but information (msg_output(3)).
type level int

const (
	levelInfo level = iota
	levelWarning
	levelError // error, fatal, panic
)

// header is what reading a line's front came to.
type header int

const (
	headerBad     header = iota // not a log line
	headerForeign               // another program's
	headerPostfix
)

// readLine takes the header off. The format is "STAMP HOST IDENT[PID]: TEXT"; a "<PRIORITY>" in front and a
// "facility.level" word behind the host, as some syslog daemons write, are passed over.
func (s *stamps) readLine(raw []byte, l *line) header {
	*l = line{raw: raw}
	rest := trimPriority(raw)
	var ok bool
	if l.at, rest, ok = s.read(rest); !ok {
		return headerBad
	}
	return l.readOrigin(rest)
}

// readAgain reads a line that was read before, all but its stamp.
func (l *line) readAgain(raw []byte) bool {
	*l = line{raw: raw, at: l.at}
	var reread stamps
	reread.location = time.UTC
	_, rest, ok := reread.read(trimPriority(raw))
	return ok && l.readOrigin(rest) == headerPostfix
}

// readOrigin reads "HOST IDENT[PID]: TEXT".
func (l *line) readOrigin(rest []byte) header {
	space := bytes.IndexByte(rest, ' ') // behind the host
	if space < 0 {
		return headerBad
	}
	rest = rest[space+1:]
	for range 2 {
		if space = bytes.IndexByte(rest, ' '); space < 0 {
			space = len(rest)
		}
		if ident, ok := bytes.CutSuffix(rest[:space], []byte(":")); ok {
			l.text = bytes.TrimLeft(rest[space:], " ")
			return l.readIdent(ident)
		}
		rest = rest[min(space+1, len(rest)):]
	}
	return headerForeign
}

func trimPriority(raw []byte) []byte {
	if len(raw) > 0 && raw[0] == '<' {
		if end := bytes.IndexByte(raw[:min(len(raw), len("<191>"))], '>'); end > 0 {
			return raw[end+1:]
		}
	}
	return raw
}

// readIdent takes "INSTANCE/SERVICE[PID]" apart. Only Postfix' programs have a slash in their name, since syslog_name
// always goes before it.
func (l *line) readIdent(ident []byte) header {
	slash := bytes.IndexByte(ident, '/')
	open := bytes.LastIndexByte(ident, '[')
	if slash <= 0 || open < slash || ident[len(ident)-1] != ']' {
		return headerForeign
	}
	pid, rest, ok := number(ident[open+1:])
	if !ok || len(rest) != 1 {
		return headerForeign
	}
	l.instance, l.service, l.pid = ident[:slash], ident[slash+1:open], pid
	l.daemon = l.service[bytes.LastIndexByte(l.service, '/')+1:]
	l.readText()
	return headerPostfix
}

func (l *line) readText() {
	if len(l.text) == 0 {
		return
	}
	switch l.text[0] {
	case 'w':
		if rest, ok := after(l.text, "warning: "); ok {
			l.level, l.text = levelWarning, rest
		}
	case 'e', 'f', 'p':
		for _, word := range [...]string{"error: ", "fatal: ", "panic: "} {
			if rest, ok := after(l.text, word); ok {
				l.level, l.text = levelError, rest
			}
		}
	case '<', '>':
		return // a conversation: no queue id there
	}
	id, _, ok := cut(l.text[:min(len(l.text), maxQueueID+2)], ": ")
	switch {
	case !ok:
	case string(id) == "NOQUEUE":
		l.noqueue, l.text = true, l.text[len(id)+2:]
	case isQueueID(id):
		l.queueID, l.text = id, l.text[len(id)+2:]
	}
}
