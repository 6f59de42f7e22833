package aggregator

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

// mentioned are the matches of a pattern in a page of docs, each once, sorted.
func mentioned(t *testing.T, page, pattern string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestDocsNameEveryRoute(t *testing.T) {
	var want []string
	for _, one := range (&Server{}).routes() {
		if strings.HasPrefix(one.Path, apiPrefix) {
			want = append(want, strings.TrimPrefix(one.Method+" ", "GET ")+one.Path+"` | "+one.Role.String())
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, mentioned(t, "api.md", "\\| `((?:POST )?/api/[^|]*\\| [a-z]+) \\|")); diff != "" {
		t.Errorf("routes (-) and docs (+) differ:\n%s", diff)
	}
	if diff := cmp.Diff(len(accounts.Roles), len(mentioned(t, "users.md", `(?m)^\| (viewer|operator|admin) \|`))); diff != "" {
		t.Errorf("roles: %s", diff)
	}
}

func TestDocsNameEveryAction(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas struct {
				Entry struct {
					Properties struct {
						Action struct{ Enum []string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	want := []string{string(ActionSignIn), string(ActionSignInFailed), string(ActionSignOut), string(ActionMessages), string(ActionMessage),
		string(ActionTranscript), string(ActionExport), string(ActionLive), string(ActionToken), string(ActionTokenFailed), string(ActionRefused),
		string(ActionRelay), string(ActionDrain), string(ActionUndrain), string(ActionForget), string(ActionDiagnose), string(ActionTest), string(ActionKeys)}
	if diff := cmp.Diff(want, doc.Components.Schemas.Entry.Properties.Action.Enum); diff != "" {
		t.Errorf("actions (-) and description (+) differ:\n%s", diff)
	}
	documented := mentioned(t, "users.md", "(?m)^\\|.*?`([a-z_]+)`")
	documented = append(documented, mentioned(t, "users.md", "(?m)^\\| `[a-z_]+`, `([a-z_]+)` \\|")...)
	for _, action := range want {
		if !slices.Contains(documented, action) {
			t.Errorf("docs/users.md does not tell of %s", action)
		}
	}
}
