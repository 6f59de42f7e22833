// Package ansible holds the roles to their documents and to the checkers of their field. That they work is shown by
// test/hosts.
package ansible

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const directory = "../../ansible"

func TestLint(t *testing.T) {
	for _, command := range [][]string{
		{"yamllint", "--strict", "."},
		{"ansible-lint", "--profile", "production", "--offline", "--nocolor", "-q"},
	} {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Dir = directory
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command[0], err, out)
		}
	}
}

// option is a variable as a role's argument_specs describe it.
type option struct {
	Type        string `yaml:"type"`
	Default     any    `yaml:"default"`
	Description string `yaml:"description"`
	NoLog       bool   `yaml:"no_log"`
}

func load(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// roles gives each role's options.
func roles(t *testing.T) map[string]map[string]option {
	t.Helper()
	files, err := filepath.Glob(directory + "/roles/*/meta/argument_specs.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no roles: %v", err)
	}
	all := map[string]map[string]option{}
	for _, file := range files {
		var specs struct {
			ArgumentSpecs struct {
				Main struct {
					Options map[string]option `yaml:"options"`
				} `yaml:"main"`
			} `yaml:"argument_specs"`
		}
		load(t, file, &specs)
		all[filepath.Base(filepath.Dir(filepath.Dir(file)))] = specs.ArgumentSpecs.Main.Options
	}
	return all
}

// Every variable has a default, a description and a line in docs/ansible.md, and none stands there that isn't.
func TestVariablesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/ansible.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for role, options := range roles(t) {
		defaults := map[string]any{}
		load(t, filepath.Join(directory, "roles", role, "defaults/main.yml"), &defaults)
		for name, one := range options {
			want = append(want, name)
			if one.Description == "" || one.Type == "" {
				t.Errorf("%s: without type or description", name)
			}
			value, there := defaults[name]
			if !there {
				t.Errorf("%s: no default", name)
			}
			// What is put together from other variables can't be a default of the specification.
			if text, ok := value.(string); one.Default == nil && !(ok && strings.Contains(text, "{{")) {
				t.Errorf("%s: the specification has no default", name)
			}
			if one.Default != nil {
				if diff := cmp.Diff(one.Default, value); diff != "" {
					t.Errorf("%s: default (-specification +defaults):\n%s", name, diff)
				}
			}
			delete(defaults, name)
		}
		for name := range defaults {
			t.Errorf("%s: not in the specification of %s", name, role)
		}
	}
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(postfleet_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		got = append(got, row[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/ansible.md (-roles +document):\n%s", diff)
	}
}

// So are the variables that only a playbook has.
func TestVariablesOfPlaybooksAreDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/ansible.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(directory + "/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// A playbook sets what it uses with register and vars, and what is left comes from the user.
		for _, name := range regexp.MustCompile(`\b(?:rotate_keys|remove_node)_[a-z]+\b`).FindAllString(string(text), -1) {
			if regexp.MustCompile(`(?m)(register: |^ +)` + name + `(:|$)`).Match(text) {
				continue
			}
			found++
			if !strings.Contains(string(document), "| `"+name+"` |") {
				t.Errorf("%s: %s is not in docs/ansible.md", filepath.Base(file), name)
			}
		}
	}
	if found == 0 {
		t.Error("no variable in any playbook")
	}
}

// The rights in Consul are those of docs/consul.md, word for word.
func TestPoliciesAreThoseOfTheDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/consul.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"node", "aggregator"} {
		_, rest, found := strings.Cut(string(document), "<!-- policy "+who+" -->\n```hcl\n")
		want, _, ended := strings.Cut(rest, "```")
		if !found || !ended {
			t.Fatalf("docs/consul.md has no policy of the %s", who)
		}
		got, err := os.ReadFile(directory + "/roles/postfleet_consul/files/policies/" + who + ".hcl")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (-document +role):\n%s", who, diff)
		}
	}
}

// No task shows a secret: whatever names one is not logged.
func TestSecretsAreNotLogged(t *testing.T) {
	secret := regexp.MustCompile(`_token\b|_secret\b|gossip|\bpassword\b|(server|page|node|aggregator)[-.{][^_ ]*\.key\b`)
	files, err := filepath.Glob(directory + "/roles/*/tasks/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		var tasks []map[string]any
		load(t, file, &tasks)
		for _, task := range tasks {
			text, err := yaml.Marshal(task)
			if err != nil {
				t.Fatal(err)
			}
			local := task["delegate_to"] == "localhost" // makes the secret, and prints nothing of it
			if secret.Match(text) && task["no_log"] != true && !local && !harmless(task) {
				t.Errorf("%s: task %q names a secret and has no no_log", filepath.Base(file), task["name"])
			}
		}
	}
}

// harmless are tasks that only name the files of keys that are made on the host.
func harmless(task map[string]any) bool {
	return task["ansible.builtin.shell"] != nil || task["ansible.builtin.include_tasks"] != nil
}
