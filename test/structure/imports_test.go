package structure

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/postfleet/postfleet/"

// goPackage is what go list says of a package; test files are left out, since they may hold one part against another.
type goPackage struct {
	ImportPath string
	Imports    []string
}

// leaves know the vocabulary and nothing else of the project.
var leaves = []string{"internal/config", "internal/dkim", "internal/postfixlog", "internal/logsource", "internal/repository",
	"internal/pki", "internal/httperr", "internal/dnspublish", "internal/setup", "internal/carried", "internal/relay", "internal/diagnose"}

// edges reach the rest through interfaces that they declare; httperr is the one place that maps errors to HTTP.
var edges = []string{"milter", "internal/nodeapi", "consul", "aggregator"}

// tools know nothing of the project, and anybody but the vocabulary may use them.
var tools = []string{"internal/crowd", "internal/dnsask"}

// configReaders are the only ones that see the configuration.
var configReaders = []string{"internal/node", "cmd/postfleet", "test"}

// exclusive lists the libraries that one package keeps to itself.
var exclusive = map[string]string{
	"github.com/d--j/go-milter":       "milter",
	"github.com/emersion/go-msgauth":  "internal/dkim",
	"github.com/ebitengine/purego":    "internal/dkim",
	"github.com/hashicorp/consul/api": "consul",
	"modernc.org/sqlite":              "internal/repository",
	"github.com/gorilla/mux":          "aggregator",
	"go.yaml.in/yaml/v3":              "internal/config",
	"blitiri.com.ar/go/spf":           "internal/diagnose",
}

func TestDependencyRule(t *testing.T) {
	packages := list(t)
	for _, problem := range violations(packages) {
		t.Error(problem)
	}
	for _, name := range slices.Concat(leaves, edges, tools, []string{"internal/fleet", "internal/node", "cmd/postfleet"}) {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return p.ImportPath == module+name }) {
			t.Errorf("the rule names %s, which is not there", name)
		}
	}
}

// The rule finds each kind of violation, so that its silence means something.
func TestRuleFinds(t *testing.T) {
	for _, c := range []struct{ name, pkg, imports string }{
		{"fleet with a library", module + "internal/fleet", "go.uber.org/zap"},
		{"fleet with a package of the project", module + "internal/fleet", module + "internal/config"},
		{"leaf with leaf", module + "internal/dkim", module + "internal/repository"},
		{"leaf with edge", module + "internal/repository", module + "milter"},
		{"edge with leaf", module + "milter", module + "internal/dkim"},
		{"edge with edge", module + "aggregator", module + "internal/nodeapi"},
		{"part of an edge with leaf", module + "aggregator/web", module + "internal/repository"},
		{"edge with config", module + "consul", module + "internal/config"},
		{"leaf with node", module + "internal/pki", module + "internal/node"},
		{"library of another", module + "internal/nodeapi", "modernc.org/sqlite"},
		{"sub-package of another's library", module + "internal/node", "github.com/emersion/go-msgauth/dkim"},
		{"tool with the vocabulary", module + "internal/crowd", module + "internal/fleet"},
		{"tool with tool", module + "internal/dnsask/spfwalk", module + "internal/crowd"},
		{"tool with a leaf", module + "internal/dnsask", module + "internal/dnspublish"},
		{"fleet with a tool", module + "internal/fleet", module + "internal/crowd"},
		{"storage that knows the web", module + "internal/repository", "net/http"},
		{"parser with I/O", module + "internal/postfixlog", "os"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := violations([]goPackage{{ImportPath: c.pkg, Imports: []string{c.imports}}}); len(got) != 1 {
				t.Errorf("found %q", got)
			}
		})
	}
}

func violations(packages []goPackage) (found []string) {
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			if why := forbidden(name, imported); why != "" {
				found = append(found, name+" imports "+strings.TrimPrefix(imported, module)+": "+why)
			}
		}
	}
	return found
}

// forbidden says why a package of the project must not import another package, or "".
func forbidden(name, imported string) string {
	for library, owner := range exclusive {
		if within(imported, library) && !within(name, owner) && !within(name, "test") {
			return "only " + owner + " may"
		}
	}
	switch {
	case name == "internal/repository" && imported == "net/http":
		return "storage knows nothing of the web"
	case name == "internal/postfixlog" && (imported == "os" || imported == "net"):
		return "the parser does no I/O"
	}
	inside, ours := strings.CutPrefix(imported, module)
	if !ours {
		if name == "internal/fleet" && strings.Contains(strings.Split(imported, "/")[0], ".") {
			return "the vocabulary needs the standard library only"
		}
		return ""
	}
	if inside == "internal/config" && !within(name, configReaders...) {
		return "only node and cmd see the configuration"
	}
	switch {
	case name == "internal/fleet":
		return "the vocabulary knows nobody"
	case within(name, tools...) && !samePart(name, inside):
		return "a tool knows nothing of the project"
	case within(inside, tools...):
	case within(name, leaves...) && inside != "internal/fleet" && !samePart(name, inside):
		return "a leaf knows the vocabulary only"
	case within(name, edges...) && inside != "internal/fleet" && inside != "internal/httperr" && !samePart(name, inside):
		return "an edge reaches others through its own interfaces"
	}
	return ""
}

// within tells whether a package is one of the parts or below one.
func within(name string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return name == part || strings.HasPrefix(name, part+"/") })
}

// samePart tells whether two packages belong to the same leaf or edge.
func samePart(a, b string) bool {
	return slices.ContainsFunc(slices.Concat(leaves, edges, tools), func(part string) bool { return within(a, part) && within(b, part) })
}

func list(t *testing.T) (packages []goPackage) {
	t.Helper()
	out := goTool(t, "list", "-e", "-json=ImportPath,Imports", "./...")
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}
