package structure

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// link finds the targets of links and pictures.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|href|srcset)="([^"]+)"`)

var heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)

// fenced is what GitHub shows as code.
var fenced = regexp.MustCompile("(?ms)^```.*?^```$")

// Every link in the documents leads to a file that is there, and to a heading that it has.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		documents = append(documents, "../../"+name)
	}
	for _, document := range documents {
		for _, target := range links(read(t, document)) {
			if problem := follow(t, document, target); problem != "" {
				t.Errorf("%s: %s: %s", filepath.Base(document), target, problem)
			}
		}
	}
}

// Each kind of broken link is found, and none that isn't.
func TestLinksFinds(t *testing.T) {
	dir := t.TempDir()
	document := filepath.Join(dir, "a.md")
	text := "# What `it` is, and isn't\n\n```\n# no heading [no link](nowhere)\n```\n"
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := links(text + `[b](b.md) ![c](c.png) <img src="d.png">`); !slices.Equal(got, []string{"b.md", "c.png", "d.png"}) {
		t.Errorf("links %q", got)
	}
	for target, want := range map[string]string{
		"a.md":                       "",
		"#what-it-is-and-isnt":       "",
		"a.md#what-it-is-and-isnt":   "",
		"https://example.com/a#b":    "",
		"b.md":                       "no such file",
		"#no-heading-no-linknowhere": "no such heading",
		"a.md#what":                  "no such heading",
	} {
		if got := follow(t, document, target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func links(text string) (targets []string) {
	for _, found := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		targets = append(targets, found[1]+found[2])
	}
	return targets
}

// follow says what is wrong with a link in a document, or "". Other sites are not asked.
func follow(t *testing.T, document, target string) string {
	t.Helper()
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	path, anchor, anchored := strings.Cut(target, "#")
	if path != "" {
		document = filepath.Join(filepath.Dir(document), filepath.FromSlash(path))
	}
	if _, err := os.Stat(document); err != nil {
		return "no such file"
	}
	if anchored && !slices.Contains(anchors(read(t, document)), anchor) {
		return "no such heading"
	}
	return ""
}

// anchors are the headings as GitHub names them.
func anchors(text string) (names []string) {
	for _, found := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, found[1]))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
