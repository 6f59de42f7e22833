package accounts

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// User is a person who may sign in.
type User struct {
	Name string
	Role Role
	hash phc
}

// Fingerprint changes whenever the password does. It says nothing about the password.
func (u *User) Fingerprint() string { return string(u.hash.salt) }

// ErrWrongPassword is the answer to a wrong password and to an unknown user alike.
var ErrWrongPassword = errors.New("wrong user name or password")

const usersHeader = "Who may sign in, one NAME:ROLE:HASH a line. Written by `postfleet user`."

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`)

func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%q is not a name: expected 1 to 64 of letters, digits and . _ @ + -, the first a letter or digit", name)
	}
	return nil
}

// Users are the people of a users file, for the daemon: read again when the file changes.
type Users struct {
	file    *watched[map[string]User]
	nobody  phc           // what an unknown user's password is compared with
	hashing chan struct{} // bounds how many passwords are hashed at once: each takes 64 MiB
}

// OpenUsers reads the users file at path. A changed file that is no good is told to onError.
func OpenUsers(path string, onError func(error)) (*Users, error) {
	file, err := watch(path, readUsers, onError)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	salt := []byte("nobody's salt...")
	return &Users{
		file:    file,
		nobody:  phc{costs: ours, salt: salt, hash: make([]byte, hashBytes)},
		hashing: make(chan struct{}, 2),
	}, nil
}

// Len is how many users there are.
func (u *Users) Len() int { return len(u.file.get()) }

// Lookup finds a user by name.
func (u *Users) Lookup(name string) (User, bool) {
	user, ok := u.file.get()[name]
	return user, ok
}

// Verify finds the user with that name and password. The error is ErrWrongPassword, which takes as long for a name that
// doesn't exist as for one that does, or ctx's when it ends before there is a turn.
func (u *Users) Verify(ctx context.Context, name, password string) (User, error) {
	if len(password) > MaxPassword {
		return User{}, ErrWrongPassword
	}
	select {
	case u.hashing <- struct{}{}:
		defer func() { <-u.hashing }()
	case <-ctx.Done():
		return User{}, ctx.Err()
	}
	user, ok := u.Lookup(name)
	if !ok {
		u.nobody.matches(password)
		return User{}, ErrWrongPassword
	}
	if !user.hash.matches(password) {
		return User{}, ErrWrongPassword
	}
	return user, nil
}

func readUsers(path string) (map[string]User, error) {
	users := map[string]User{}
	err := readLines(path, func(_ int, line fields) error {
		if len(line) != 3 {
			return errors.New("expected NAME:ROLE:HASH")
		}
		if err := checkName(line[0]); err != nil {
			return err
		}
		if _, twice := users[line[0]]; twice {
			return fmt.Errorf("user %q is there twice", line[0])
		}
		role, err := ParseRole(line[1])
		if err != nil {
			return err
		}
		hash, err := parsePHC(line[2])
		if err != nil {
			return err
		}
		users[line[0]] = User{Name: line[0], Role: role, hash: hash}
		return nil
	})
	return users, err
}

// UserFile changes a users file, for `postfleet user`.
type UserFile struct{ Path string }

// List tells the users, by name.
func (f UserFile) List() ([]User, error) {
	users, err := readUsers(f.Path)
	if err != nil {
		return nil, err
	}
	var list []User
	for _, user := range users {
		list = append(list, user)
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Add makes a user.
func (f UserFile) Add(name string, role Role, password string) error {
	if err := errors.Join(checkName(name), CheckPassword(password)); err != nil {
		return err
	}
	return f.change(func(users map[string]User) error {
		if _, there := users[name]; there {
			return fmt.Errorf("user %q exists", name)
		}
		return setPassword(users, User{Name: name, Role: role}, password)
	})
}

// SetPassword changes a user's password, which ends their sessions.
func (f UserFile) SetPassword(name, password string) error {
	if err := CheckPassword(password); err != nil {
		return err
	}
	return f.changeOne(name, func(users map[string]User, user User) error { return setPassword(users, user, password) })
}

// SetRole changes a user's role, at once for running sessions too.
func (f UserFile) SetRole(name string, role Role) error {
	return f.changeOne(name, func(users map[string]User, user User) error {
		user.Role = role
		users[name] = user
		return nil
	})
}

// Remove removes a user, which ends their sessions.
func (f UserFile) Remove(name string) error {
	return f.changeOne(name, func(users map[string]User, _ User) error {
		delete(users, name)
		return nil
	})
}

func setPassword(users map[string]User, user User, password string) error {
	hash, err := parsePHC(hashPassword(password))
	if err != nil {
		return err
	}
	user.hash = hash
	users[user.Name] = user
	return nil
}

func (f UserFile) changeOne(name string, change func(map[string]User, User) error) error {
	return f.change(func(users map[string]User) error {
		user, there := users[name]
		if !there {
			return fmt.Errorf("no user %q in %s", name, f.Path)
		}
		return change(users, user)
	})
}

func (f UserFile) change(change func(map[string]User) error) error {
	return locked(f.Path, func() error {
		users, err := readUsers(f.Path)
		if err != nil {
			return err
		}
		if err := change(users); err != nil {
			return err
		}
		var lines []string
		for _, user := range users {
			lines = append(lines, strings.Join([]string{user.Name, user.Role.String(), user.hash.String()}, ":"))
		}
		slices.Sort(lines)
		return writeLines(f.Path, usersHeader, lines)
	})
}
