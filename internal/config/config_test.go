package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is wrong with each file in testdata to its .want")

// parsers reads the text of either file.
var parsers = map[string]func(file string, text []byte) error{
	"milter":     func(file string, text []byte) error { _, err := ParseMilter(file, text); return err },
	"aggregator": func(file string, text []byte) error { _, err := ParseAggregator(file, text); return err },
}

// Each file in testdata is a configuration that can't be used; beside it stands exactly what is said about it.
func TestBadConfigurations(t *testing.T) {
	for kind, parse := range parsers {
		files, err := filepath.Glob(filepath.Join("testdata", kind, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files for %s: %v", kind, err)
		}
		for _, path := range files {
			name := strings.TrimSuffix(filepath.Base(path), ".yaml")
			t.Run(kind+"/"+name, func(t *testing.T) {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				problem := parse(kind+".yaml", text)
				if problem == nil {
					t.Fatal("the file was taken")
				}
				got := problem.Error() + "\n"
				wantFile := strings.TrimSuffix(path, ".yaml") + ".want"
				if *update {
					if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(wantFile)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("wrong message (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "comment": "# nothing\n", "sections without keys": "node:\nmilter:\n", "null": "~\n"} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMilter("milter.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want := DefaultMilter()
			if diff := cmp.Diff(&want, got, cmp.Comparer(func(a, b Network) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDefaultsAreValid(t *testing.T) {
	milter := DefaultMilter()
	if err := milter.Validate(); err != nil {
		t.Error(err)
	}
	aggregator := DefaultAggregator()
	aggregator.Members.Static = []StaticMember{{Name: "a", Address: "a.example.com:8525"}}
	if err := aggregator.Validate(); err != nil {
		t.Error(err)
	}
}

func TestListReplacesDefault(t *testing.T) {
	c, err := ParseMilter("milter.yaml", []byte("milter:\n  sign_networks: [192.0.2.0/24, '[2001:db8::]/32', 198.51.100.7]\n  listen:\n    - address: 127.0.0.1:8890\n"))
	if err != nil {
		t.Fatal(err)
	}
	var networks []string
	for _, network := range c.Milter.SignNetworks {
		networks = append(networks, network.String())
	}
	if diff := cmp.Diff([]string{"192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"}, networks); diff != "" {
		t.Error(diff)
	}
	want := []Listen{{Address: Endpoint{Network: "tcp", Address: "127.0.0.1:8890"}, Mode: 0o660, Group: "postfix"}}
	if diff := cmp.Diff(want, c.Milter.Listen); diff != "" {
		t.Error(diff)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadMilter(filepath.Join(dir, "none.yaml")); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("missing file: %v", err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# large\n", maxFile/8+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadAggregator(large)
	if want := large + ": larger than 1MiB"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func unwrapAll(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = inner.Unwrap()
	}
}

func TestNodeName(t *testing.T) {
	for _, c := range []struct{ set, hostname, want string }{
		{"", "MX1.example.com", "mx1"},
		{"berlin-2", "mx1.example.com", "berlin-2"},
		{"", "mx_1", ""},
		{"", "", ""},
	} {
		config := DefaultMilter()
		config.Node.Name = c.set
		got, err := config.NodeName(c.hostname)
		if (err == nil) != (c.want != "") || err == nil && got != c.want {
			t.Errorf("name %q, host %q: got %q, %v", c.set, c.hostname, got, err)
		}
	}
}
