package accounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestPassword(t *testing.T) {
	text := hashPassword("correct horse battery")
	p, err := parsePHC(text)
	if err != nil || p.String() != text {
		t.Fatalf("%s reads as %s, %v", text, p, err)
	}
	if !p.matches("correct horse battery") || p.matches("correct horse batterz") || p.matches("") {
		t.Error("matches the wrong ones")
	}
	if hashPassword("correct horse battery") == text {
		t.Error("two hashes of a password are the same")
	}
}

// The test vector of the argon2 reference implementation's command line, which PHC strings come from.
func TestForeignHash(t *testing.T) {
	p, err := parsePHC("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil {
		t.Fatal(err)
	}
	if !p.matches("password") {
		t.Error("does not match")
	}
}

func TestBadHashes(t *testing.T) {
	good := "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if _, err := parsePHC(good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"other kind":    strings.Replace(good, "argon2id", "argon2i", 1),
		"other version": strings.Replace(good, "v=19", "v=16", 1),
		"no memory":     strings.Replace(good, "m=64", "m=0", 1),
		"all memory":    strings.Replace(good, "m=64", "m=4194304", 1),
		"no passes":     strings.Replace(good, "t=1", "t=0", 1),
		"endless":       strings.Replace(good, "t=1", "t=999999", 1),
		"no lanes":      strings.Replace(good, "p=1", "p=0", 1),
		"short salt":    strings.Replace(good, "c29tZXNhbHQ", "c29t", 1),
		"bad base64":    strings.Replace(good, "c29tZXNhbHQ", "!!!!!!!!!!!", 1),
		"short hash":    good[:len(good)-30],
		"bcrypt":        "$2y$10$abcdefghijklmnopqrstuv",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parsePHC(text); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestCheckPassword(t *testing.T) {
	for password, good := range map[string]bool{
		"twelve chars": true, "zwölf Zeiche": true, "eleven char": false, "": false, "with\nline end": false, "not \xff utf-8 text": false,
		strings.Repeat("x", MaxPassword): true, strings.Repeat("x", MaxPassword+1): false,
	} {
		if err := CheckPassword(password); (err == nil) != good {
			t.Errorf("%.20q: %v", password, err)
		}
	}
}

// Unknown users cost as much as known ones: both hash once with the same costs.
func TestUnknownUserCostsTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := (UserFile{path}).Add("vera", Viewer, "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	users, err := OpenUsers(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	known, _ := users.Lookup("vera")
	if users.nobody.costs != known.hash.costs || len(users.nobody.salt) != len(known.hash.salt) || len(users.nobody.hash) != len(known.hash.hash) {
		t.Errorf("nobody costs %+v, a user %+v", users.nobody.costs, known.hash.costs)
	}
	if _, err := users.Verify(t.Context(), "eve", "correct horse battery"); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("unknown user: %v", err)
	}
	if user, err := users.Verify(t.Context(), "vera", "correct horse battery"); err != nil || user.Role != Viewer {
		t.Errorf("known user: %+v %v", user, err)
	}
}

func TestBadFiles(t *testing.T) {
	hash := "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	sum := strings.Repeat("ab", 32)
	for name, tc := range map[string]struct{ users, tokens, want string }{
		"fields":        {users: "# c\n\nvera:viewer\n", want: "line 3: expected NAME:ROLE:HASH"},
		"role":          {users: "vera:god:" + hash, want: `line 1: "god" is not a role: expected one of viewer, operator, admin`},
		"nobody":        {users: "vera:nobody:" + hash, want: `"nobody" is not a role`},
		"name":          {users: "ve ra:viewer:" + hash, want: `"ve ra" is not a name`},
		"hash":          {users: "vera:viewer:secret", want: "not an argon2id hash"},
		"twice":         {users: "vera:viewer:" + hash + "\nvera:admin:" + hash, want: `line 2: user "vera" is there twice`},
		"token fields":  {tokens: "a:viewer", want: "expected NAME:ROLE:MADE:SHA256"},
		"token time":    {tokens: "a:viewer:yesterday:" + sum, want: `"yesterday" is not a time`},
		"token sum":     {tokens: "a:viewer:20261123T120000Z:abc", want: "not a SHA-256 sum"},
		"token twice":   {tokens: "a:viewer:20261123T120000Z:" + sum + "\na:admin:20261123T120000Z:" + strings.Repeat("cd", 32), want: "there twice"},
		"token's name ": {tokens: ":viewer:20261123T120000Z:" + sum, want: "is not a name"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(tc.users+tc.tokens), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenTokens(path, nil)
			if tc.users != "" {
				_, err = OpenUsers(path, nil)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

func TestOpenToOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := (UserFile{path}).Add("vera", Viewer, "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenUsers(path, nil); err == nil || !strings.Contains(err.Error(), "open to others (mode 0644)") {
		t.Errorf("%v", err)
	}
}

// A daemon that runs as postfleet reads what root made, in a directory of root's and in its own.
func TestRootHandsOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	for name, tc := range map[string]struct {
		uid, gid int
		mode     os.FileMode
	}{
		"root's directory": {0, 65534, 0o640},
		"daemon's own":     {65534, 65534, 0o600},
		"root's alone":     {0, 0, 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chown(dir, tc.uid, tc.gid); err != nil {
				t.Fatal(err)
			}
			file := TokenFile{filepath.Join(dir, "tokens")}
			for i := range 2 { // made, and changed
				if _, err := file.Add(fmt.Sprintf("t%d", i), Viewer, time.Now()); err != nil {
					t.Fatal(err)
				}
				info, err := os.Stat(file.Path)
				if err != nil {
					t.Fatal(err)
				}
				owner := info.Sys().(*syscall.Stat_t)
				if int(owner.Uid) != tc.uid || int(owner.Gid) != tc.gid || info.Mode().Perm() != tc.mode {
					t.Errorf("%d:%d %v", owner.Uid, owner.Gid, info.Mode())
				}
			}
		})
	}
}

// A changed file is taken at once; one that is no good is told once and the accounts from before stay.
func TestFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	file := TokenFile{path}
	var problems []error
	tokens, err := OpenTokens(path, func(err error) { problems = append(problems, err) })
	if err != nil {
		t.Fatal(err)
	}
	first, err := file.Add("first", Viewer, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if token, ok := tokens.Verify(first); !ok || token.Name != "first" || token.Role != Viewer {
		t.Errorf("not taken: %+v", token)
	}
	if err := os.WriteFile(path, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, ok := tokens.Verify(first); !ok {
			t.Error("gone with a file that is no good")
		}
	}
	if len(problems) != 1 {
		t.Errorf("told %v", problems)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, ok := tokens.Verify(first); ok {
		t.Error("still there without a file")
	}
}

// Commands that run at the same time lose nothing of each other.
func TestConcurrentChanges(t *testing.T) {
	file := TokenFile{filepath.Join(t.TempDir(), "tokens")}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := file.Add(fmt.Sprintf("t%d", i), Viewer, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := file.List()
	if err != nil || len(list) != 20 {
		t.Errorf("%d tokens, %v", len(list), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file.Path), ".tokens-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestRoles(t *testing.T) {
	for i, role := range Roles {
		parsed, err := ParseRole(role.String())
		if err != nil || parsed != role {
			t.Errorf("%s reads as %s, %v", role, parsed, err)
		}
		for j, needed := range Roles {
			if role.May(needed) != (i >= j) {
				t.Errorf("%s may %s: %v", role, needed, role.May(needed))
			}
		}
		if Nobody.May(role) {
			t.Errorf("nobody may what %s may", role)
		}
	}
}
