package pki

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Directory holds a fleet's CA as files: ca.pem and ca.key, and ROLE-NAME.pem for every certificate that it issued,
// with ROLE-NAME.key beside it unless the key was written elsewhere.
type Directory struct {
	path      string
	authority *Authority
}

const (
	caCert = "ca.pem"
	caKey  = "ca.key"
)

// Init makes a directory with a new CA in it. One that has a CA already is left as it is.
func Init(path, name string, now time.Time, valid time.Duration) (*Directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	for _, file := range []string{caKey, caCert} {
		if _, err := os.Lstat(filepath.Join(path, file)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is there already: a new CA would make every certificate of the old one useless",
				filepath.Join(path, file))
		}
	}
	authority, pair, err := NewAuthority(name, now, valid)
	if err != nil {
		return nil, err
	}
	if err := writePair(path, "ca", pair); err != nil {
		return nil, err
	}
	return &Directory{path: path, authority: authority}, nil
}

// Open reads the CA of a directory.
func Open(path string) (*Directory, error) {
	var pair Pair
	var err error
	if pair.Cert, err = os.ReadFile(filepath.Join(path, caCert)); err != nil {
		return nil, err
	}
	if err := private(filepath.Join(path, caKey)); err != nil {
		return nil, err
	}
	if pair.Key, err = os.ReadFile(filepath.Join(path, caKey)); err != nil {
		return nil, err
	}
	authority, err := LoadAuthority(pair)
	if err != nil {
		return nil, fmt.Errorf("CA in %s: %w", path, err)
	}
	return &Directory{path: path, authority: authority}, nil
}

// Paths are where the three files of a daemon were written.
type Paths struct {
	Cert string `json:"certificate"`
	Key  string `json:"key"`
	CA   string `json:"ca"`
}

// Issue makes a certificate and writes it, its key and the CA's certificate to out; empty is the directory itself. A
// holder that has a certificate already is refused: see Renew.
func (d *Directory) Issue(r Request, now time.Time, out string) (Paths, error) {
	if err := r.Identity.Validate(); err != nil {
		return Paths{}, err
	}
	held := d.certPath(r.Identity)
	if _, err := os.Lstat(held); !errors.Is(err, fs.ErrNotExist) {
		return Paths{}, fmt.Errorf("%s has a certificate already, %s: renew it instead", r.Identity, held)
	}
	return d.write(r, now, out, writePair)
}

// Renew makes a new key and certificate for a holder that has one, with the same addresses, and replaces its files in
// out. A daemon that runs takes them up by itself.
func (d *Directory) Renew(id Identity, valid time.Duration, now time.Time, out string) (Paths, error) {
	text, err := os.ReadFile(d.certPath(id))
	if err != nil {
		return Paths{}, fmt.Errorf("nothing to renew: %w", err)
	}
	old, err := parseCert(text)
	if err != nil {
		return Paths{}, fmt.Errorf("%s: %w", d.certPath(id), err)
	}
	r := Request{Identity: id, Addresses: addresses(old), Valid: valid}
	return d.write(r, now, out, replacePair)
}

// write puts a new certificate into out, and a copy of it into the directory where out is another one.
func (d *Directory) write(r Request, now time.Time, out string, put func(dir, base string, pair Pair) error) (Paths, error) {
	pair, err := d.authority.Issue(r, now)
	if err != nil {
		return Paths{}, err
	}
	ca, err := os.ReadFile(filepath.Join(d.path, caCert))
	if err != nil {
		return Paths{}, err
	}
	elsewhere := out != "" && filepath.Clean(out) != filepath.Clean(d.path)
	if !elsewhere {
		out = d.path
	} else if err := os.MkdirAll(out, 0o700); err != nil {
		return Paths{}, err
	}
	base := baseName(r.Identity)
	paths := Paths{Cert: filepath.Join(out, base+".pem"), Key: filepath.Join(out, base+".key"), CA: filepath.Join(out, caCert)}
	if err := put(out, base, pair); err != nil {
		return Paths{}, err
	}
	if elsewhere {
		if err := errors.Join(replace(paths.CA, ca), replace(d.certPath(r.Identity), pair.Cert)); err != nil {
			return Paths{}, err
		}
	}
	return paths, nil
}

// List describes the CA and every certificate that it issued, the CA first and the rest by name.
func (d *Directory) List() ([]Certificate, error) {
	files, err := filepath.Glob(filepath.Join(d.path, "*.pem"))
	if err != nil {
		return nil, err
	}
	var list []Certificate
	for _, file := range files {
		cert, err := Describe(file)
		if err != nil {
			return nil, err
		}
		list = append(list, cert)
	}
	slices.SortStableFunc(list, func(a, b Certificate) int { // Glob sorts by name
		return cmp.Compare(rank(a.Role), rank(b.Role))
	})
	return list, nil
}

func rank(role Role) int {
	if role == RoleCA {
		return 0
	}
	return 1
}

func (d *Directory) certPath(id Identity) string { return filepath.Join(d.path, baseName(id)+".pem") }

func baseName(id Identity) string { return string(id.Role) + "-" + id.Name }
