package structure

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is a line of a table whose first cell is a module.
var row = regexp.MustCompile(`(?m)^\| ([a-z0-9.-]+\.[a-z]+/\S+) \| (.+?) \| (.+?) \|$`)

// documentedModules reads one chapter of docs/dependencies.md.
func documentedModules(t *testing.T, chapter string) (modules []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+chapter+"\n")
	if !found {
		t.Fatalf("no chapter %s", chapter)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, cells := range row.FindAllStringSubmatch(rest, -1) {
		modules = append(modules, cells[1])
	}
	slices.Sort(modules)
	return modules
}

// docs/dependencies.md has every module that go.mod requires directly, in the chapter where it belongs, and no other.
func TestDependenciesAreDocumented(t *testing.T) {
	linked, others := map[string]bool{}, map[string]bool{}
	inBinary := linkedModules(t)
	for _, module := range directModules(t) {
		if inBinary[module] {
			linked[module] = true
		} else {
			others[module] = true
		}
	}
	for chapter, want := range map[string]map[string]bool{"Linked into the binary": linked, "Tests and tools only": others} {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), documentedModules(t, chapter)); diff != "" {
			t.Errorf("%s (-go.mod +document):\n%s", chapter, diff)
		}
	}
}

func directModules(t *testing.T) (modules []string) {
	t.Helper()
	var file struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(goTool(t, "mod", "edit", "-json"), &file); err != nil {
		t.Fatalf("go.mod: %v", err)
	}
	for _, required := range file.Require {
		if !required.Indirect {
			modules = append(modules, required.Path)
		}
	}
	return modules
}

// linkedModules are those with a package in the binary.
func linkedModules(t *testing.T) map[string]bool {
	t.Helper()
	modules := map[string]bool{}
	for path := range strings.Lines(string(goTool(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/postfleet"))) {
		modules[strings.TrimSpace(path)] = true
	}
	return modules
}

// goTool runs the go command in the project.
func goTool(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}
