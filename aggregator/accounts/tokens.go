package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Token is a program that may use the JSON API.
type Token struct {
	Name string
	Role Role
	Made time.Time
	hash [sha256.Size]byte
}

// tokenPrefix makes a token that leaked into a file findable.
const tokenPrefix = "pft_"

const tokensHeader = "Programs that may use the JSON API, one NAME:ROLE:MADE:SHA256 a line. Written by `postfleet token`."

// Tokens are the programs of a tokens file, for the daemon: read again when the file changes.
type Tokens struct {
	file *watched[map[[sha256.Size]byte]Token]
}

// OpenTokens reads the tokens file at path, which need not be there. A changed file that is no good is told to onError.
func OpenTokens(path string, onError func(error)) (*Tokens, error) {
	file, err := watch(path, readTokens, onError)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	return &Tokens{file: file}, nil
}

// Verify finds the program that a secret belongs to. Secrets have 256 random bits, so that a plain hash is enough and
// looking it up tells nothing through its timing.
func (t *Tokens) Verify(secret string) (Token, bool) {
	if !strings.HasPrefix(secret, tokenPrefix) {
		return Token{}, false
	}
	token, ok := t.file.get()[sha256.Sum256([]byte(secret))]
	return token, ok
}

func readTokens(path string) (map[[sha256.Size]byte]Token, error) {
	tokens := map[[sha256.Size]byte]Token{}
	names := map[string]bool{}
	err := readLines(path, func(_ int, line fields) error {
		token, err := parseToken(line)
		if err != nil {
			return err
		}
		if names[token.Name] {
			return fmt.Errorf("token %q is there twice", token.Name)
		}
		names[token.Name] = true
		tokens[token.hash] = token
		return nil
	})
	return tokens, err
}

const madeLayout = "20060102T150405Z" // no colons

func parseToken(line fields) (token Token, err error) {
	if len(line) != 4 {
		return Token{}, errors.New("expected NAME:ROLE:MADE:SHA256")
	}
	token.Name = line[0]
	if err := checkName(token.Name); err != nil {
		return Token{}, err
	}
	if token.Role, err = ParseRole(line[1]); err != nil {
		return Token{}, err
	}
	if token.Made, err = time.Parse(madeLayout, line[2]); err != nil {
		return Token{}, fmt.Errorf("%q is not a time like %s", line[2], madeLayout)
	}
	sum, err := hex.DecodeString(line[3])
	if err != nil || len(sum) != sha256.Size {
		return Token{}, errors.New("the last field is not a SHA-256 sum in hexadecimal")
	}
	token.hash = [sha256.Size]byte(sum)
	return token, nil
}

func (t Token) line() string {
	return strings.Join([]string{t.Name, t.Role.String(), t.Made.UTC().Format(madeLayout), hex.EncodeToString(t.hash[:])}, ":")
}

// TokenFile changes a tokens file, for `postfleet token`.
type TokenFile struct{ Path string }

// List tells the tokens, by name.
func (f TokenFile) List() ([]Token, error) {
	tokens, err := readTokens(f.Path)
	if err != nil {
		return nil, err
	}
	var list []Token
	for _, token := range tokens {
		list = append(list, token)
	}
	slices.SortFunc(list, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Add makes a token and gives its secret, which is kept nowhere.
func (f TokenFile) Add(name string, role Role, now time.Time) (secret string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	secret = tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
	return secret, f.change(func(list []Token) ([]Token, error) {
		if slices.ContainsFunc(list, func(t Token) bool { return t.Name == name }) {
			return nil, fmt.Errorf("token %q exists", name)
		}
		return append(list, Token{Name: name, Role: role, Made: now, hash: sha256.Sum256([]byte(secret))}), nil
	})
}

// Remove takes a token back, at once.
func (f TokenFile) Remove(name string) error {
	return f.change(func(list []Token) ([]Token, error) {
		left := slices.DeleteFunc(slices.Clone(list), func(t Token) bool { return t.Name == name })
		if len(left) == len(list) {
			return nil, fmt.Errorf("no token %q in %s", name, f.Path)
		}
		return left, nil
	})
}

func (f TokenFile) change(change func([]Token) ([]Token, error)) error {
	return locked(f.Path, func() error {
		list, err := f.List()
		if err != nil {
			return err
		}
		if list, err = change(list); err != nil {
			return err
		}
		var lines []string
		for _, token := range list {
			lines = append(lines, token.line())
		}
		slices.Sort(lines)
		return writeLines(f.Path, tokensHeader, lines)
	})
}
