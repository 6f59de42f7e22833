package advice

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Problem is what is wrong with a line of a file.
type Problem struct {
	File string
	Line int
	Text string
}

func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text) }

// Limits of a file.
const (
	maxFile    = 1 << 20 // bytes
	maxPattern = 500     // bytes
)

// entryName is how entries are named, so that a site can refer to one.
var entryName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,59}$`)

// codePattern is an SMTP code (RFC 5321 section 4.2) or an enhanced one (RFC 3463), with x for a digit.
var codePattern = regexp.MustCompile(`^(?:[45][0-9x]{2}|[45]\.(?:[0-9x]{1,3})\.(?:[0-9x]{1,3}))$`)

var placeholder = regexp.MustCompile(`\{([a-z]+)\}`)

// Parse reads one file. It holds lines "key: value"; a line that begins with a blank goes on the one before, # begins a
// comment. An entry begins with its name:
//
//	name:    what it is called: a-z, 0-9 and -
//	by:      who speaks: server, node or session; any where it is left out
//	from:    domains of the server that replied
//	code:    SMTP or enhanced codes, x for any digit: 421 4.7.28 4.7.5xx 5.x.x
//	reply:   a regular expression (RE2), upper or lower case alike, that is found in the reply; again for another one
//	title:   the matter in a few words
//	means:   what has happened
//	do:      what to do next; again for each further step
//	link:    a page that says more; again for another one
//	source:  where the wording was found
//	example: a reply of this kind as Postfix logs it; again for another one
//
// It is for a reply by which all of by, from, code and reply hold that are given, of several values any. {word} in title,
// means and do stands for the group (?P<word>…) of the pattern. Each example has to come to its own entry, and to no other
// of the same file. The error joins every [Problem] that there is.
func Parse(name string, text []byte) (*Book, error) {
	f, err := parse(name, text)
	if err != nil {
		return nil, err
	}
	return &Book{[]*file{f}}, nil
}

// reader reads one file.
type reader struct {
	file     *file
	problems []error
}

func (d *reader) wrong(line int, format string, args ...any) {
	d.problems = append(d.problems, &Problem{d.file.name, line, fmt.Sprintf(format, args...)})
}

func parse(name string, text []byte) (*file, error) {
	d := &reader{file: &file{name: name}}
	if len(text) > maxFile {
		d.wrong(1, "larger than %d bytes", maxFile)
		return nil, errors.Join(d.problems...)
	}
	var current *entry
	for _, one := range d.lines(string(text)) {
		if one.key == "name" {
			current = d.begin(one)
			continue
		}
		if current == nil {
			d.wrong(one.number, "%s: before the first name:", one.key)
			continue
		}
		d.set(current, one)
	}
	d.check()
	if len(d.problems) > 0 {
		return nil, errors.Join(d.problems...)
	}
	return d.file, nil
}

// line is "key: value" with what was continued.
type line struct {
	number     int
	key, value string
}

func (d *reader) lines(text string) (lines []line) {
	number := 0
	for raw := range strings.Lines(text) {
		number++
		trimmed := strings.TrimSpace(raw)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case raw[0] == ' ' || raw[0] == '\t':
			if len(lines) == 0 {
				d.wrong(number, "goes on a line that isn't there")
				continue
			}
			lines[len(lines)-1].value += " " + trimmed
		default:
			key, value, found := strings.Cut(trimmed, ":")
			if !found || strings.ContainsAny(key, " \t") {
				d.wrong(number, "expected key: value")
				continue
			}
			lines = append(lines, line{number, key, strings.TrimSpace(value)})
		}
	}
	return lines
}

func (d *reader) begin(one line) *entry {
	e := &entry{name: one.value, line: one.number}
	if !entryName.MatchString(one.value) {
		d.wrong(one.number, "name: %q is not a name: expected a-z, 0-9 and -, a letter first, sixty at the most", one.value)
	}
	if slices.ContainsFunc(d.file.entries, func(other *entry) bool { return other.name == one.value }) {
		d.wrong(one.number, "name: %s is there already", one.value)
	}
	d.file.entries = append(d.file.entries, e)
	return e
}

func (d *reader) set(e *entry, one line) {
	if one.value == "" {
		d.wrong(one.number, "%s: is empty", one.key)
		return
	}
	single := map[string]*string{"title": &e.title, "means": &e.means, "source": &e.source}
	switch one.key {
	case "title", "means", "source":
		if *single[one.key] != "" {
			d.wrong(one.number, "%s: is there already", one.key)
		}
		*single[one.key] = one.value
	case "by":
		e.by = Speaker(one.value)
		if e.by != Server && e.by != Node && e.by != Session {
			d.wrong(one.number, "by: %q is not server, node or session", one.value)
		}
	case "from":
		for _, domain := range strings.Fields(one.value) {
			e.from = append(e.from, strings.ToLower(strings.Trim(domain, ".")))
		}
	case "code":
		for _, code := range strings.Fields(one.value) {
			if !codePattern.MatchString(code) {
				d.wrong(one.number, "code: %q is not a code: expected one like 421, 4.7.28 or 5.7.x", code)
			}
			e.codes = append(e.codes, code)
		}
	case "reply":
		d.pattern(e, one)
	case "do":
		e.do = append(e.do, one.value)
	case "link":
		if u, err := url.Parse(one.value); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			d.wrong(one.number, "link: %q is not an address: expected https://…", one.value)
		}
		e.links = append(e.links, one.value)
	case "example":
		e.examples = append(e.examples, example{one.value, one.number})
	default:
		d.wrong(one.number, "no such key: %q; expected name, by, from, code, reply, title, means, do, link, source or example", one.key)
	}
}

func (d *reader) pattern(e *entry, one line) {
	if len(one.value) > maxPattern {
		d.wrong(one.number, "reply: longer than %d bytes", maxPattern)
		return
	}
	pattern, err := regexp.Compile("(?i)" + one.value)
	if err != nil {
		d.wrong(one.number, "reply: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return
	}
	e.replies = append(e.replies, pattern)
}
