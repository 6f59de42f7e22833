package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUserCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	const password = "correct horse battery\n"
	for _, tc := range []struct {
		name, stdin string
		args        []string
		status      int
		out, errors string
	}{
		{"none yet", "", []string{"list", "--json"}, exitDone, "[]\n", ""},
		{"add", password, []string{"add", "--role", "admin", "anna"}, exitDone, "", ""},
		{"add without a role", password, []string{"add", "vera"}, exitDone, "", ""},
		{"list", "", []string{"list"}, exitDone, "anna  admin\nvera  viewer\n", ""},
		{"twice", password, []string{"add", "anna"}, exitFailed, "", `user "anna" exists`},
		{"short password", "short\n", []string{"add", "otto"}, exitFailed, "", "shorter than 12 characters"},
		{"no password", "", []string{"passwd", "anna"}, exitFailed, "", "shorter than 12 characters"},
		{"bad name", password, []string{"add", "a:b"}, exitFailed, "", `"a:b" is not a name`},
		{"bad role", password, []string{"add", "--role", "god", "otto"}, exitUsage, "", `"god" is not a role`},
		{"role", "", []string{"role", "vera", "operator"}, exitDone, "", ""},
		{"role of nobody", "", []string{"role", "otto", "viewer"}, exitFailed, "", `no user "otto"`},
		{"new password", "another battery horse\n", []string{"passwd", "vera"}, exitDone, "", ""},
		{"remove", "", []string{"remove", "anna"}, exitDone, "", ""},
		{"list as JSON", "", []string{"list", "--json"}, exitDone, `[{"name":"vera","role":"operator"}]` + "\n", ""},
		{"password as argument", "", []string{"passwd", "vera", "secret"}, exitUsage, "", "expected 1 argument, not 2"},
		{"no such command", "", []string{"ad"}, exitUsage, "", `has no command "ad"`},
		{"no command", "", nil, exitUsage, "Usage:", "expected one of the commands"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, problems := command(tc.stdin, append([]string{"user", "--file", file}, tc.args...)...)
			if status != tc.status || !strings.Contains(out, tc.out) || !strings.Contains(problems, tc.errors) || tc.errors == "" && problems != "" {
				t.Errorf("status %d, out %q, errors %q", status, out, problems)
			}
		})
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(content); strings.Contains(text, "horse") || !strings.Contains(text, "vera:operator:$argon2id$v=19$m=65536,t=3,p=1$") {
		t.Errorf("file:\n%s", text)
	}
}

// The first user is made before the nodes are listed, as the README has it.
func TestAccountsBeforeNodes(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "aggregator.yaml")
	if err := os.WriteFile(config, []byte("access:\n  users_file: "+dir+"/users\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, problems := command("correct horse battery\n", "user", "-c", config, "add", "anna"); status != exitDone {
		t.Errorf("%d %s", status, problems)
	}
	if status, out, problems := command("", "user", "-c", config, "list"); status != exitDone || out != "anna  viewer\n" {
		t.Errorf("%d %q %s", status, out, problems)
	}
}

func TestTokenCommands(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "aggregator.yaml")
	text := "access:\n  tokens_file: " + dir + "/tokens\nmembers:\n  static:\n    - {name: a, address: 127.0.0.1:1}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, secret, problems := command("", "token", "-c", config, "add", "--role", "operator", "robot")
	if status != exitDone || !strings.HasPrefix(secret, "pft_") {
		t.Fatalf("%d %q %q", status, secret, problems)
	}
	content, err := os.ReadFile(filepath.Join(dir, "tokens"))
	if err != nil || strings.Contains(string(content), strings.TrimSpace(secret)) {
		t.Errorf("the token itself is kept: %v", err)
	}
	if status, out, _ := command("", "token", "-c", config, "list"); status != exitDone || !strings.HasPrefix(out, "robot  operator  ") {
		t.Errorf("%d %q", status, out)
	}
	if status, _, _ := command("", "token", "-c", config, "remove", "robot"); status != exitDone {
		t.Errorf("remove: %d", status)
	}
	if status, _, problems := command("", "token", "-c", config, "remove", "robot"); status != exitFailed || !strings.Contains(problems, `no token "robot"`) {
		t.Errorf("removed twice: %d %s", status, problems)
	}
	if err := os.WriteFile(config, []byte("acess: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, problems := command("", "token", "-c", config, "list"); status != exitUsage || !strings.Contains(problems, "acess") {
		t.Errorf("bad configuration: %d %s", status, problems)
	}
}
