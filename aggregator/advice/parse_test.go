package advice

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseProblems(t *testing.T) {
	const good = "title: t\nmeans: m\ndo: d\n"
	for name, one := range map[string]struct {
		text string
		want []string
	}{
		"key before a name":      {"title: x\n", []string{`f:1: title: before the first name:`}},
		"continuation first":     {"  more\n", []string{`f:1: goes on a line that isn't there`}},
		"no key":                 {"name: x\ncode: 421\n" + good + "hello there\n", []string{`f:6: expected key: value`}},
		"unknown key":            {"name: x\ncode: 421\n" + good + "doo: x\n", []string{`f:6: no such key: "doo"; expected name, by, from, code, reply, title, means, do, link, source or example`}},
		"empty value":            {"name: x\ncode:\n" + good, []string{`f:2: code: is empty`, `f:1: x is for every reply: it needs by:, from:, code: or reply:`}},
		"name twice":             {"name: x\ncode: 421\n" + good + "name: x\ncode: 422\n" + good, []string{`f:6: name: x is there already`}},
		"title twice":            {"name: x\ncode: 421\n" + good + "title: u\n", []string{`f:6: title: is there already`}},
		"nothing to say":         {"name: x\ncode: 421\n", []string{`f:1: x has no title:`, `f:1: x has no means:`, `f:1: x has no do:`}},
		"bad code":               {"name: x\ncode: 421 2.0.0 4.7\n" + good, []string{`f:2: code: "2.0.0" is not a code: expected one like 421, 4.7.28 or 5.7.x`, `f:2: code: "4.7" is not a code: expected one like 421, 4.7.28 or 5.7.x`}},
		"bad pattern":            {"name: x\nreply: a(b\n" + good, []string{"f:2: reply: missing closing ): `(?i)a(b`", `f:1: x is for every reply: it needs by:, from:, code: or reply:`}},
		"long pattern":           {"name: x\ncode: 421\nreply: " + strings.Repeat("a", 501) + "\n" + good, []string{`f:3: reply: longer than 500 bytes`}},
		"bad speaker":            {"name: x\nby: me\n" + good, []string{`f:2: by: "me" is not server, node or session`}},
		"bad link":               {"name: x\ncode: 421\nlink: javascript:alert(1)\n" + good, []string{`f:3: link: "javascript:alert(1)" is not an address: expected https://…`}},
		"placeholder, no group":  {"name: x\nreply: (?P<list>a)\nreply: b\ntitle: {list}\nmeans: m\ndo: d\n", []string{`f:1: x: {list} stands for a group (?P<list>…), which not every reply: has`}},
		"placeholder, no reply":  {"name: x\ncode: 421\ntitle: t\nmeans: m\ndo: ask {host}\n", []string{`f:1: x: {host} stands for a group, and there is no reply:`}},
		"example of something":   {"name: x\ncode: 421\n" + good + "example: 550 5.1.1 no\n", []string{`f:6: this example does not come to x: read as by "server", from "", code "550", "5.1.1", text "no"`}},
		"two entries that fight": {"name: x\ncode: 421\n" + good + "example: 421 busy\nname: y\nreply: busy\n" + good, []string{`f:6: this example of x comes to y too`}},
		"too large":              {strings.Repeat("# comment\n", 120_000), []string{`f:1: larger than 1048576 bytes`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(one.text))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(one.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
			var problem *Problem
			if !errors.As(err, &problem) {
				t.Errorf("%T is no Problem", err)
			}
		})
	}
}

func TestParseTakesAllThereIs(t *testing.T) {
	text := `
# a comment
name: partner
by: server
from: mx.partner.example .other.example
code: 421 4.7.x
reply: come
  later
title: Partner
means: One line
	and another.
do: first
do: second
link: https://partner.example/mail
source: their letter
example: host a.mx.partner.example[192.0.2.1] said: 421 4.7.1 please come later
`
	book, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := book.Find(Reply{Text: "421 COME LATER", Host: "x.other.example."})
	want := &Advice{Name: "partner", Title: "Partner", Means: "One line and another.", Do: []string{"first", "second"}, Links: []string{"https://partner.example/mail"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, other := range []Reply{{Text: "421 come later", Host: "elsewhere.example"}, {Text: "550 come later", Host: "x.other.example"},
		{Text: "421 come again", Host: "x.other.example"}, {Text: "421 come later", Host: "x.other.example", Session: true}} {
		if got := book.Find(other); got != nil {
			t.Errorf("%+v comes to %+v", other, got)
		}
	}
}

// The example of the document is one.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/trace.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```\n# /etc/postfleet/advice.d/")
	block, _, found := strings.Cut(block, "```")
	book, err := Parse("docs/trace.md", []byte("# "+block))
	if err != nil || !found || book.Len() != 1 {
		t.Fatalf("%v", err)
	}
	got := book.Find(Reply{Text: "host mx.partner.example[192.0.2.1] said: 421 4.3.2 Down for maintenance (in reply to MAIL FROM command)"})
	if got == nil || got.Title != "The partner's server is down for maintenance" {
		t.Errorf("%+v", got)
	}
}

// Whatever the file and whatever the reply: no panic, and an error or a book.
func FuzzParse(f *testing.F) {
	f.Add("name: x\ncode: 421\nreply: a(?P<l>.)\ntitle: {l}\nmeans: m\ndo: d\nexample: 421 ab\n", "host x[1] said: 421-4.7.1 a 421 b", "4.7.1")
	f.Add("  \nname:", "connect to x[1]:25: Connection refused", "")
	builtin := builtinBook(f)
	f.Fuzz(func(t *testing.T, text, reply, dsn string) {
		book, err := Parse("f", []byte(text))
		if (book == nil) == (err == nil) {
			t.Fatalf("book %v, error %v", book, err)
		}
		r := Reply{Text: reply, DSN: dsn}
		if book != nil {
			book.Find(r)
		}
		builtin.Find(r)
	})
}
