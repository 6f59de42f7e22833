package advice

import (
	"regexp"
	"strings"
)

// Speaker says whose words a reply is.
type Speaker string

// The speakers.
const (
	Server  Speaker = "server"  // the server that the mail was offered to
	Node    Speaker = "node"    // Postfix on the node that tried, about what it met on the way
	Session Speaker = "session" // the node, to the client that handed the mail in
)

// Advice is what an entry says about one reply.
type Advice struct {
	Name  string   `json:"name"` // of the entry
	Title string   `json:"title"`
	Means string   `json:"means"`
	Do    []string `json:"do"` // steps, in order
	Links []string `json:"links"`
}

// Book is the entries of several files. It is never changed, so it may be used by many at once.
type Book struct{ files []*file }

// Len is how many entries there are.
func (b *Book) Len() (n int) {
	for _, f := range b.files {
		n += len(f.entries)
	}
	return n
}

// file is the entries of one file. Its place among the others decides: the first file with an entry that fits is right.
type file struct {
	name    string
	entries []*entry
}

// entry is one piece of advice and the replies that it is for. All its conditions must hold; an empty one does.
type entry struct {
	name, title, means, source string
	by                         Speaker
	from                       []string // domains of the host that replied
	codes                      []string // SMTP or enhanced codes; x stands for any digit, a final x for any number
	replies                    []*regexp.Regexp
	do, links                  []string
	examples                   []example
	line                       int
}

// example is a reply that the entry is for. Whether it comes to the entry is tested when the file is read.
type example struct {
	text string
	line int
}

// Find gives the advice for a reply, or nil where there is none: at an empty reply, or one of success.
func (b *Book) Find(r Reply) *Advice {
	said := r.read()
	if said.text == "" {
		return nil
	}
	for _, f := range b.files {
		if e := f.first(said); e != nil {
			return e.advise(said)
		}
	}
	return nil
}

func (f *file) first(said statement) *entry {
	for _, e := range f.entries {
		if e.fits(said) {
			return e
		}
	}
	return nil
}

func (e *entry) fits(said statement) bool {
	if e.by != "" && e.by != said.by || !e.fitsHost(said.host) || !e.fitsCode(said) {
		return false
	}
	if len(e.replies) == 0 {
		return true
	}
	for _, pattern := range e.replies {
		if pattern.MatchString(said.text) {
			return true
		}
	}
	return false
}

func (e *entry) fitsHost(host string) bool {
	if len(e.from) == 0 {
		return true
	}
	for _, domain := range e.from {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

func (e *entry) fitsCode(said statement) bool {
	if len(e.codes) == 0 {
		return true
	}
	for _, code := range e.codes {
		if codeFits(code, said.dsn) || codeFits(code, said.code) {
			return true
		}
	}
	return false
}

// codeFits compares part by part; "x" in a part stands for a digit, a whole part "x" for any number.
func codeFits(pattern, code string) bool {
	wanted, parts := strings.Split(pattern, "."), strings.Split(code, ".")
	if len(wanted) != len(parts) || code == "" {
		return false
	}
	for i, want := range wanted {
		if want == "x" {
			continue
		}
		if len(want) != len(parts[i]) {
			return false
		}
		for j := range len(want) {
			if want[j] != 'x' && want[j] != parts[i][j] {
				return false
			}
		}
	}
	return true
}

// advise fills in what the reply itself says: {list} is the text of the group (?P<list>…).
func (e *entry) advise(said statement) *Advice {
	a := &Advice{Name: e.name, Title: e.title, Means: e.means, Do: e.do, Links: e.links}
	for _, pattern := range e.replies {
		match := pattern.FindStringSubmatch(said.text)
		if match == nil {
			continue
		}
		var pairs []string
		for i, name := range pattern.SubexpNames() {
			if name != "" {
				pairs = append(pairs, "{"+name+"}", clip(match[i]))
			}
		}
		if len(pairs) > 0 {
			fill := strings.NewReplacer(pairs...)
			a.Title, a.Means = fill.Replace(e.title), fill.Replace(e.means)
			a.Do = make([]string, len(e.do))
			for i, step := range e.do {
				a.Do[i] = fill.Replace(step)
			}
		}
		break
	}
	return a
}

// mostFilled is how much of a stranger's text goes into a sentence of ours, in bytes.
const mostFilled = 80

func clip(text string) string {
	if len(text) <= mostFilled {
		return text
	}
	return strings.ToValidUTF8(text[:mostFilled], "") + "…"
}
