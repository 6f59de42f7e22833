package advice

import (
	"slices"
	"strings"
)

// check holds the entries of a file against what an entry needs, and their examples against each other.
func (d *reader) check() {
	for _, e := range d.file.entries {
		if e.title == "" {
			d.wrong(e.line, "%s has no title:", e.name)
		}
		if e.means == "" {
			d.wrong(e.line, "%s has no means:", e.name)
		}
		if len(e.do) == 0 {
			d.wrong(e.line, "%s has no do:", e.name)
		}
		if e.by == "" && len(e.from)+len(e.codes)+len(e.replies) == 0 {
			d.wrong(e.line, "%s is for every reply: it needs by:, from:, code: or reply:", e.name)
		}
		d.checkPlaceholders(e)
	}
	if len(d.problems) == 0 { // an entry that was misread would be blamed for what it isn't
		d.checkExamples()
	}
}

// checkPlaceholders sees that each {word} has its group in every pattern: a sentence must not depend on which one was found.
func (d *reader) checkPlaceholders(e *entry) {
	for _, match := range placeholder.FindAllStringSubmatch(strings.Join(append([]string{e.title, e.means}, e.do...), "\n"), -1) {
		if len(e.replies) == 0 {
			d.wrong(e.line, "%s: %s stands for a group, and there is no reply:", e.name, match[0])
			return
		}
		for _, pattern := range e.replies {
			if !slices.Contains(pattern.SubexpNames(), match[1]) {
				d.wrong(e.line, "%s: %s stands for a group (?P<%s>…), which not every reply: has", e.name, match[0], match[1])
				return
			}
		}
	}
}

func (d *reader) checkExamples() {
	for _, e := range d.file.entries {
		for _, one := range e.examples {
			said := e.exampleReply(one).read()
			if !e.fits(said) {
				d.wrong(one.line, "this example does not come to %s: read as by %q, from %q, code %q, %q, text %q",
					e.name, said.by, said.host, said.code, said.dsn, said.text)
				continue
			}
			for _, other := range d.file.entries {
				if other != e && other.fits(said) {
					d.wrong(one.line, "this example of %s comes to %s too", e.name, other.name)
				}
			}
		}
	}
}

// exampleReply is an example as it would come from a message.
func (e *entry) exampleReply(one example) Reply {
	return Reply{Text: one.text, Session: e.by == Session}
}
