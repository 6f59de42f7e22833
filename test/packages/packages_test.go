// Package packages holds the .deb and the .rpm to what they promise: the same bytes from the same source, what Debian's and
// RPM's own checkers ask for, an installation that changes nothing in Postfix, and units that are shut in.
package packages

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const version = "9.8.7"

// command runs a program in the project's directory and gives all that it printed.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := run(t.Context(), env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// build makes all packages in a directory of its own.
func build(t *testing.T) string {
	t.Helper()
	dist := filepath.Join(t.TempDir(), "dist")
	command(t, []string{"DIST=" + dist}, "make", "packages", "VERSION="+version)
	return dist
}

func TestPackages(t *testing.T) {
	dist := build(t)
	t.Run("the same bytes twice", func(t *testing.T) {
		again := build(t)
		if diff := cmp.Diff(read(t, dist, "SHA256SUMS"), read(t, again, "SHA256SUMS")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("checksums", func(t *testing.T) {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", "cd "+dist+" && sha256sum --check --strict SHA256SUMS && ls | wc -l").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("lintian", func(t *testing.T) {
		for _, arch := range []string{"amd64", "arm64"} {
			out, err := run(t.Context(), nil, "lintian", "--profile", "debian", "--fail-on", "error,warning", "--tag-display-limit", "0", deb(dist, arch))
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		}
	})
	t.Run("rpmlint", func(t *testing.T) {
		out, err := run(t.Context(), nil, "rpmlint", "--config", "packaging/rpmlint.toml", rpm(dist))
		if err != nil || !strings.Contains(out, " 0 errors, 0 warnings") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("contents", func(t *testing.T) { contents(t, dist) })
	t.Run("rpm in a root", func(t *testing.T) { installRPM(t, rpm(dist)) })
	t.Run("bare roots", func(t *testing.T) { bareRoots(t, dist) })
	t.Run("sbom", func(t *testing.T) {
		text := read(t, dist, "postfleet_"+version+"_amd64.cdx.json")
		for _, library := range []string{"github.com/d--j/go-milter", "github.com/hashicorp/consul/api", "modernc.org/sqlite"} {
			if !strings.Contains(text, `"name": "`+library+`"`) {
				t.Errorf("%s isn't named", library)
			}
		}
	})
}

func deb(dist, arch string) string {
	return filepath.Join(dist, "postfleet_"+version+"-1_"+arch+".deb")
}
func rpm(dist string) string { return filepath.Join(dist, "postfleet-"+version+"-1.x86_64.rpm") }

func read(t *testing.T, dist, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dist, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// contents looks for what either package has to bring.
func contents(t *testing.T, dist string) {
	lists := map[string]string{
		"deb": command(t, nil, "dpkg-deb", "--contents", deb(dist, "amd64")),
		"rpm": command(t, nil, "rpm", "-qlp", "--nosignature", rpm(dist)),
	}
	for kind, list := range lists {
		for _, file := range []string{"/usr/bin/postfleet", "/usr/lib/systemd/system/postfleet-milter.service",
			"/usr/lib/systemd/system/postfleet-aggregator.service", "/etc/postfleet/milter.yaml", "/etc/postfleet/aggregator.yaml",
			"/usr/lib/sysusers.d/postfleet.conf", "/usr/lib/tmpfiles.d/postfleet.conf", "/usr/share/man/man8/postfleet-setup.8.gz",
			"/usr/share/bash-completion/completions/postfleet", "/_postfleet", "/postfleet.fish", "/usr/share/postfleet/haproxy/haproxy.cfg",
			"/usr/share/postfleet/prometheus/postfleet.rules.yml", "/usr/share/postfleet/grafana/postfleet.json",
			"/usr/share/doc/postfleet/configuration.md", "/usr/share/doc/postfleet/copyright", "/usr/share/doc/postfleet/changelog.gz",
			"/usr/share/doc/postfleet/sbom.cdx.json"} {
			if !regexp.MustCompile(regexp.QuoteMeta(file) + `(?m)$`).MatchString(list) {
				t.Errorf("%s: no %s in\n%s", kind, file, list)
			}
		}
	}
	conffiles := command(t, nil, "dpkg-deb", "--info", deb(dist, "amd64"), "conffiles")
	if diff := cmp.Diff("/etc/postfleet/aggregator.yaml\n/etc/postfleet/milter.yaml", sorted(conffiles)); diff != "" {
		t.Error(diff)
	}
	if got := sorted(command(t, nil, "rpm", "-qcp", "--nosignature", rpm(dist))); got != "/etc/postfleet/aggregator.yaml\n/etc/postfleet/milter.yaml" {
		t.Errorf("configuration in the rpm: %s", got)
	}
}

func sorted(text string) string {
	lines := strings.Fields(text)
	var out bytes.Buffer
	for i, line := range lines {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(line)
	}
	return out.String()
}

// exposure is the figure that systemd-analyze security ends with.
var exposure = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

func TestUnitsAreShutIn(t *testing.T) {
	for _, unit := range []string{"postfleet-milter.service", "postfleet-aggregator.service"} {
		out := command(t, nil, "systemd-analyze", "security", "--offline=yes", "--no-pager", "packaging/systemd/"+unit)
		found := exposure.FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("no figure in\n%s", out)
		}
		level, err := strconv.ParseFloat(found[1], 64)
		if err != nil || level > 2.0 {
			t.Errorf("%s: exposure %s, which is more than 2.0 (%v)", unit, found[1], err)
		}
		t.Logf("%s: %s", unit, found[1])
	}
}

// metric is a name of ours in an alert or a panel.
var metric = regexp.MustCompile(`postfleet_[a-z_]+`)

// Alerts and panels name only metrics that are documented, and so are there (docs/monitoring.md is held against the code).
func TestMetricsOfRulesAndDashboard(t *testing.T) {
	documented, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"../../packaging/prometheus/postfleet.rules.yml", "../../packaging/grafana/postfleet.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := metric.FindAllString(string(text), -1)
		if len(names) < 10 {
			t.Errorf("%s has %d names", file, len(names))
		}
		for _, name := range names {
			name = strings.TrimSuffix(name, "_bucket")
			if !bytes.Contains(documented, []byte("| `"+name+"` |")) {
				t.Errorf("%s: %s isn't documented", filepath.Base(file), name)
			}
		}
	}
}

// The rules are rules, by Prometheus' own judgement.
func TestRules(t *testing.T) {
	command(t, nil, "promtool", "check", "rules", "packaging/prometheus/postfleet.rules.yml")
}
