package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// documented reads the tables of one file's chapter in docs/configuration.md.
func documented(t *testing.T, chapter string) (keys []Key) {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+chapter+"\n")
	if !found {
		t.Fatalf("no chapter %s", chapter)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for line := range strings.Lines(rest) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells[4]) < 8 {
			t.Errorf("%s has no meaning", cells[0])
		}
		keys = append(keys, Key{Path: strings.Trim(cells[0], "`"), Type: cells[1], Default: strings.Trim(cells[2], "`"), Live: cells[3] == "yes"})
	}
	return keys
}

func TestEveryKeyIsDocumented(t *testing.T) {
	milter, aggregator := DefaultMilter(), DefaultAggregator()
	for chapter, defaults := range map[string]any{"milter.yaml": &milter, "aggregator.yaml": &aggregator} {
		t.Run(chapter, func(t *testing.T) {
			if diff := cmp.Diff(Keys(defaults), documented(t, chapter)); diff != "" {
				t.Errorf("docs/configuration.md differs from the structs (-structs +doc):\n%s", diff)
			}
		})
	}
}

// A commented key has its # right before it, or two spaces before it inside a list; prose has one space, or three.
var commentedKey = regexp.MustCompile(`(?m)^( *)#(  )?([^# ])`)

// The files that the package installs show every key with its default.
func TestPackagedConfigurations(t *testing.T) {
	alike := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b Network) bool { return a == b })}
	t.Run("milter", func(t *testing.T) {
		for name, text := range packaged(t, "milter.yaml") {
			want := DefaultMilter()
			got, err := ParseMilter("milter.yaml", []byte(text))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if name == "without comments" { // examples of what a list may have
				want.Relay.Members = []RelayMember{{Name: "mx1", Hop: "mx1.example.com:8529", Weight: 1}}
				want.Relay.Rules = []RelayRule{{Domain: "example.com", Mode: "failover"}}
			}
			if diff := cmp.Diff(&want, got, alike); diff != "" {
				t.Errorf("%s (-defaults +file):\n%s", name, diff)
			}
		}
	})
	t.Run("aggregator", func(t *testing.T) {
		want := DefaultAggregator()
		want.Members.Static = []StaticMember{{Name: "mx1", Address: "mx1.example.com:8525"}}
		got, err := ParseAggregator("aggregator.yaml", []byte(packaged(t, "aggregator.yaml")["without comments"]))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got, alike); diff != "" {
			t.Errorf("(-defaults +file):\n%s", diff)
		}
	})
}

// packaged gives a file as it is installed, and with its keys taken out of their comments. It fails when a key is missing.
func packaged(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../packaging/config/" + name)
	if err != nil {
		t.Fatal(err)
	}
	open := commentedKey.ReplaceAllString(string(text), "$1$2$3")
	d := newDecoder(name)
	root, ok := d.parse([]byte(open))
	if !ok {
		t.Fatal(d.problems)
	}
	given := map[string]bool{}
	walk(root, "", func(path string) { given[path] = true })
	for _, key := range documented(t, name) {
		if !given[key.Path] {
			t.Errorf("packaging/config/%s lacks %s", name, key.Path)
		}
	}
	return map[string]string{"as installed": string(text), "without comments": open}
}
