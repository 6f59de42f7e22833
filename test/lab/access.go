package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// What an administrator does once with the command line, done here with the same commands.

// Identity is a certificate of the fleet's private CA: paths of PEM files.
type Identity struct{ Cert, Key, CA string }

// Keygen makes the DKIM keys of a node for domains, RSA and Ed25519.
func (l *Lab) Keygen(ctx context.Context, binary, keys, selector string, domains []string) error {
	args := append([]string{"dkim", "keygen", "--keys-dir", keys, "--selector", selector}, domains...)
	_, err := l.Run(ctx, binary, args...)
	return err
}

// InitCA makes the private CA of the fleet.
func (l *Lab) InitCA(ctx context.Context, binary string) error {
	_, err := l.Run(ctx, binary, "pki", "init", l.Path("pki"))
	return err
}

// Issue makes a certificate for a role, node or aggregator.
func (l *Lab) Issue(ctx context.Context, binary, role, name string) (Identity, error) {
	dir := l.Path("pki")
	if _, err := l.Run(ctx, binary, "pki", "issue", "--dir", dir, role, name); err != nil {
		return Identity{}, err
	}
	stem := filepath.Join(dir, role+"-"+name)
	return Identity{Cert: stem + ".pem", Key: stem + ".key", CA: filepath.Join(dir, "ca.pem")}, nil
}

// Access is who may use the page and the JSON API.
type Access struct {
	UsersFile, TokensFile string
	User, Password        string
	Token                 string
}

// NewAccess makes an administrator and a token.
func (l *Lab) NewAccess(ctx context.Context, binary string) (Access, error) {
	dir, err := l.Mkdir("aggregator")
	if err != nil {
		return Access{}, err
	}
	a := Access{UsersFile: filepath.Join(dir, "users"), TokensFile: filepath.Join(dir, "tokens"), User: "admin",
		Password: strings.ToLower(rand.Text()[:12])}
	if err := a.Add(ctx, binary, a.User, a.Password, "admin"); err != nil {
		return Access{}, err
	}
	a.Token, err = a.NewToken(ctx, binary, "lab", "admin")
	return a, err
}

// Add makes a user of a role: viewer, operator or admin.
func (a Access) Add(ctx context.Context, binary, user, password, role string) error {
	cmd := exec.CommandContext(ctx, binary, "user", "add", "--file", a.UsersFile, "--role", role, user)
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}

// NewToken makes a token for the JSON API.
func (a Access) NewToken(ctx context.Context, binary, name, role string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, "token", "add", "--file", a.TokensFile, "--role", role, name)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return string(bytes.TrimSpace(out)), nil
}
