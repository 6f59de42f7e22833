package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Files is a [Source] of PEM files. It looks at them at every handshake and takes a changed set as soon as the three fit
// together; until then, and when they can't be read, it goes on with the last good set.
type Files struct {
	paths [3]string
	log   *zap.Logger

	mu     sync.Mutex
	seen   [3]stamp
	cert   *tls.Certificate
	roots  *x509.CertPool
	failed string // what was logged about the present files
}

// FileOptions name the files.
type FileOptions struct {
	Cert string // certificate, with intermediates after it
	Key  string // private key; refused when others than owner and group can read it
	CA   string // roots to trust
	Log  *zap.Logger
}

type stamp struct {
	modified time.Time
	size     int64
}

// NewFiles reads the files; the error names the file that is wrong.
func NewFiles(o FileOptions) (*Files, error) {
	f := &Files{paths: [3]string{o.Cert, o.Key, o.CA}, log: o.Log}
	seen, err := f.stamps()
	if err != nil {
		return nil, err
	}
	if err := f.load(); err != nil {
		return nil, err
	}
	f.seen = seen
	return f, nil
}

// Credentials implements [Source].
func (f *Files) Credentials() (*tls.Certificate, *x509.CertPool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, err := f.stamps()
	if err == nil && seen == f.seen {
		return f.cert, f.roots, nil
	}
	if err == nil {
		err = f.load()
	}
	if err != nil {
		if err.Error() != f.failed {
			f.failed = err.Error()
			f.log.Warn("certificate files changed and can't be used; the ones read before stay", zap.Error(err))
		}
		return f.cert, f.roots, nil
	}
	f.seen, f.failed = seen, ""
	f.log.Info("certificate files read again", zap.String("certificate", f.paths[0]),
		zap.Time("valid_until", f.cert.Leaf.NotAfter))
	return f.cert, f.roots, nil
}

func (f *Files) stamps() (seen [3]stamp, err error) {
	for i, path := range f.paths {
		info, err := os.Stat(path)
		if err != nil {
			return seen, err
		}
		seen[i] = stamp{info.ModTime(), info.Size()}
	}
	return seen, nil
}

func (f *Files) load() error {
	certPath, keyPath, caPath := f.paths[0], f.paths[1], f.paths[2]
	if err := private(keyPath); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			return err
		}
		return fmt.Errorf("certificate %s with key %s: %w", certPath, keyPath, err)
	}
	pem, err := os.ReadFile(caPath)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: no PEM certificate in it", caPath)
	}
	f.cert, f.roots = &cert, roots
	return nil
}

// private refuses a key that any user of the host can read.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s: mode %04o lets every user at the private key: chmod o-rwx it", path, info.Mode().Perm())
	}
	return nil
}
