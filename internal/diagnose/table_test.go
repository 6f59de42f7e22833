package diagnose

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs/diagnostics.md has a chapter on each check, in the order of the table, and each says what to do.
func TestEveryCheckIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/diagnostics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapters, found := strings.Cut(string(text), "\n## The checks\n")
	if !found {
		t.Fatal("no chapter The checks")
	}
	chapters, _, _ = strings.Cut(chapters, "\n## ")
	var want, got []string
	for _, check := range Table {
		want = append(want, check.Name)
	}
	for _, heading := range regexp.MustCompile(`(?m)^### (\S+)$`).FindAllStringSubmatch(chapters, -1) {
		got = append(got, heading[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-) and docs/diagnostics.md (+):\n%s", diff)
	}
	for _, chapter := range strings.Split(chapters, "\n### ")[1:] {
		name, body, _ := strings.Cut(chapter, "\n")
		if !strings.Contains(body, "\nMend: ") {
			t.Errorf("docs/diagnostics.md doesn't say how to mend %s", name)
		}
	}
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, check := range Table {
		if seen[check.Name] || !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(check.Name) {
			t.Errorf("name %q is there twice, or has other than small letters, digits and hyphens", check.Name)
		}
		seen[check.Name] = true
		if check.Title == "" || check.Group == "" || check.Run == nil || !strings.HasSuffix(check.Why, ".") {
			t.Errorf("%s lacks a title, a group, a reason or what it does", check.Name)
		}
	}
}
