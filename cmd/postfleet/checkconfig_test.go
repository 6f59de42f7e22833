package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	milter := writeFile(t, dir, "m.yaml", fmt.Sprintf("node: {name: n1}\ndkim: {keys_dir: %s/keys}\napi: {certificates: 'off'}\n", dir))
	members := "members: {static: [{name: n1, address: 'n1:8525'}]}\n"
	nobody := writeFile(t, dir, "nobody.yaml", members+"access: {users_file: "+dir+"/none}\n")
	users := filepath.Join(dir, "users")
	if status, _, stderr := command("correct horse battery\n", "user", "add", "--file", users, "--role", "admin", "root"); status != exitDone {
		t.Fatal(stderr)
	}
	aggregator := writeFile(t, dir, "a.yaml", members+"access: {users_file: "+users+"}\nclient: {cert_file: /nonexistent}\n")
	paged := writeFile(t, dir, "p.yaml", members+"http: {cert_file: /nonexistent/web.pem, key_file: /nonexistent/web.key}\n")
	advice := writeFile(t, dir, "partners.advice", "name: partner\ncode: 421\ntitle: t\nmeans: m\ndoo: d\n")
	advised := writeFile(t, dir, "advised.yaml", members+"access: {users_file: "+users+"}\nadvice: {dir: "+dir+"}\n")
	bad := writeFile(t, dir, "bad.yaml", "milter: {listne: []}\n")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		out    string
		err    string
	}{
		{"a node's", []string{milter}, exitDone, milter + ": good, for postfleet milter\n  node n1\n", ""},
		{"quietly", []string{"--quiet", milter}, exitDone, "", ""},
		{"misspelt", []string{bad}, exitUsage, "", bad + ":1: milter.listne: no such key: did you mean listen?"},
		{"an aggregator's without its certificate", []string{aggregator}, exitUsage, "", "certificate for the nodes: "},
		{"an aggregator's without a user", []string{nobody}, exitUsage, "", "nobody can sign in: no user in " + dir + "/none"},
		{"an aggregator's without its page's certificate", []string{paged}, exitUsage, "", "certificate of the pages: open /nonexistent/web.pem"},
		{"an aggregator's with bad advice", []string{advised}, exitUsage, "", advice + ":5: no such key: \"doo\""},
		{"the other daemon's", []string{"--daemon", "aggregator", milter}, exitUsage, "", "m.yaml:1: node: no such key"},
		{"no such daemon", []string{"--daemon", "relay", milter}, exitUsage, "", `expected milter or aggregator, not "relay"`},
		{"no file", nil, exitUsage, "", "expected 1 argument, not 0: postfleet check-config FILE"},
		{"missing file", []string{filepath.Join(dir, "none")}, exitUsage, "", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := command("", append([]string{"check-config"}, c.args...)...)
			if status != c.status || !strings.HasPrefix(stdout, c.out) || !strings.Contains(stderr, c.err) {
				t.Errorf("status %d\n%s\n%s", status, stdout, stderr)
			}
			if c.status == exitDone && c.out == "" && stdout != "" {
				t.Errorf("not quiet: %s", stdout)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		_, stdout, _ := command("", "check-config", "--json", milter)
		var got struct {
			Daemon string   `json:"daemon"`
			Runs   []string `json:"runs"`
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Daemon != "milter" || len(got.Runs) == 0 {
			t.Errorf("%v: %s", err, stdout)
		}
	})
}
