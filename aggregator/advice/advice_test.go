package advice

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func builtinBook(t testing.TB) *Book {
	t.Helper()
	book, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// Each entry that comes with the binary says where its wording is from, shows what it is for, and gets its own examples:
// none is hidden behind one of a file before it. Within a file, Parse sees to that.
func TestBuiltinEntriesDoNotFight(t *testing.T) {
	book := builtinBook(t)
	names := map[string]string{}
	for _, f := range book.files {
		for _, e := range f.entries {
			if e.source == "" || len(e.examples) == 0 {
				t.Errorf("%s:%d: %s has no source: or no example:", f.name, e.line, e.name)
			}
			if other := names[e.name]; other != "" {
				t.Errorf("%s is in %s and in %s", e.name, other, f.name)
			}
			names[e.name] = f.name
			for _, one := range e.examples {
				if got := book.Find(e.exampleReply(one)); got == nil || got.Name != e.name {
					t.Errorf("%s:%d: the example of %s comes to %+v", f.name, one.line, e.name, got)
				}
			}
		}
	}
	if len(names) < 100 {
		t.Errorf("%d entries: files are missing", len(names))
	}
}

// TestCorpus holds the entries against replies that they were not written from.
func TestCorpus(t *testing.T) {
	text, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	book, read := builtinBook(t), 0
	for one := range strings.Lines(string(text)) {
		one = strings.TrimSpace(one)
		if one == "" || one[0] == '#' {
			continue
		}
		want, reply, _ := strings.Cut(one, " | ")
		if whole, ok := strings.CutPrefix(reply, "= "); ok {
			reply = whole
		} else {
			reply = "host mx.example.net[192.0.2.9] said: " + reply + " (in reply to RCPT TO command)"
		}
		read++
		if got := book.Find(Reply{Text: reply}); got == nil || got.Name != want {
			t.Errorf("%s\ncomes to %+v, not to %s", reply, got, want)
		}
	}
	if read < 100 {
		t.Errorf("only %d replies were read", read)
	}
}

func TestFind(t *testing.T) {
	book := builtinBook(t)
	for name, one := range map[string]struct {
		reply Reply
		want  string
	}{
		"nothing said":                     {Reply{}, ""},
		"success":                          {Reply{Text: "250 2.0.0 Ok: queued as 4bXyZ1", DSN: "2.0.0"}, ""},
		"success without its code":         {Reply{Text: "delivered to mailbox", DSN: "2.0.0"}, ""},
		"the code of the log counts":       {Reply{Text: "nobody knows", DSN: "4.4.1"}, "code-network"},
		"the host of the reply counts":     {Reply{Text: "host aspmx.l.google.com[192.0.2.1] said: 421 4.3.0 Temporary System Problem. Try again later"}, "google-busy"},
		"another host's reply":             {Reply{Text: "host mx.example.com[192.0.2.1] said: 421 4.3.0 Temporary System Problem. Try again later"}, "code-system"},
		"a host that only ends alike":      {Reply{Text: "host mx.notgoogle.com[192.0.2.1] said: 421 4.3.0 Temporary System Problem. Try again later"}, "code-system"},
		"a server can't speak as the node": {Reply{Text: "host mx.example.com[192.0.2.1] said: 421 connect to x[1]:25: Connection refused"}, "temporary"},
		"the node to its client":           {Reply{Text: "554 5.7.1 <a@b.example>: Relay access denied", Session: true}, "session-relay-denied"},
		"a server to the node":             {Reply{Text: "554 5.7.1 <a@b.example>: Relay access denied"}, "relay-denied"},
		"a suspended destination":          {Reply{Text: "delivery temporarily suspended: connect to mx.example.com[192.0.2.1]:25: Connection timed out"}, "connection-timeout"},
		"line ends in the reply":           {Reply{Text: "host mx.example.com[192.0.2.1] said: 451 4.7.1\r\n Greylisted"}, "greylisted"},
		"code alone":                       {Reply{Text: "550"}, "code-mailbox-basic"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if a := book.Find(one.reply); a != nil {
				got = a.Name
			}
			if got != one.want {
				t.Errorf("comes to %q, not to %q", got, one.want)
			}
		})
	}
}

// What a stranger said gets into a sentence of ours within bounds.
func TestFilledIn(t *testing.T) {
	const text = "name: x\nreply: using (?P<list>\\S+)\ntitle: On {list}\nmeans: {list} has it.\ndo: Ask {list}.\ndo: Wait.\n"
	book, err := Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := book.Find(Reply{Text: "550 blocked using bl.example.net"})
	want := &Advice{Name: "x", Title: "On bl.example.net", Means: "bl.example.net has it.", Do: []string{"Ask bl.example.net.", "Wait."}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	long := book.Find(Reply{Text: "550 blocked using " + strings.Repeat("é", 900)})
	if n := len(long.Title); n > 100 || !utf8.ValidString(long.Title) {
		t.Errorf("%d bytes: %q", n, long.Title)
	}
	if again := book.Find(Reply{Text: "550 blocked using {list}"}); again.Title != "On {list}" {
		t.Errorf("filled in twice: %q", again.Title)
	}
}

func TestCodeFits(t *testing.T) {
	for _, one := range []struct {
		pattern, code string
		want          bool
	}{
		{"421", "421", true}, {"4xx", "421", true}, {"4xx", "521", false}, {"421", "4.2.1", false}, {"4.7.28", "4.7.28", true},
		{"4.7.28", "4.7.2", false}, {"4.7.5xx", "4.7.500", true}, {"4.7.5xx", "4.7.5", false}, {"5.x.x", "5.7.708", true},
		{"5.x.x", "4.7.1", false}, {"5.7.x", "", false}, {"4.x.x", "4.7", false},
	} {
		if got := codeFits(one.pattern, one.code); got != one.want {
			t.Errorf("codeFits(%q, %q) = %v", one.pattern, one.code, got)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := "name: ours\nreply: Greylisted\ntitle: Partner's test\nmeans: Theirs.\ndo: Call them.\n"
	put("b.advice", own)
	put("a.advice", "name: greylisted\nreply: nothing like it\ntitle: x\nmeans: x\ndo: x\n")
	put("notes.txt", "not advice")
	put(".b.advice.swp", "not advice")
	book, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := book.Find(Reply{Text: "451 4.7.1 Greylisted"}); got.Name != "ours" {
		t.Errorf("the site's entry doesn't go first: %+v", got)
	}
	if got := book.Find(Reply{Text: "451 4.7.1 Greylisting in action, please come back in 5"}); got.Name == "greylisted" {
		t.Errorf("the site's entry doesn't replace the built-in one: %+v", got)
	}
	if got, want := book.Len(), builtinBook(t).Len()+1; got != want {
		t.Errorf("%d entries, not %d", got, want)
	}
	if missing, err := Load(filepath.Join(dir, "nothing")); err != nil || missing.Len() != builtinBook(t).Len() {
		t.Errorf("a directory that isn't there: %v", err)
	}
	put("c.advice", "name: a b\nnonsense\n")
	_, err = Load(dir)
	want := filepath.Join(dir, "c.advice") + ":1: name: \"a b\" is not a name"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "c.advice:2: expected key: value") {
		t.Errorf("error is %v", err)
	}
}
