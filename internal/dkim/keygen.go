package dkim

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// keyMode lets the daemon read the key through its group, and others not.
const keyMode = 0o640

// Generate makes a key of a kind (RSA or Ed25519) in DIR/DOMAIN/SELECTOR.KIND.pem, as PKCS #8; bits counts for RSA. The file gets the group of
// dir, so that the daemon can read what root made. A file that is there already is an error: its public half is in DNS.
func Generate(dir, domain, selector, kind string, bits int) (*Key, error) {
	domain, err := asciiDomain(domain)
	if err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	if err := checkDomain(selector); err != nil {
		return nil, fmt.Errorf("selector %q: %w", selector, err)
	}
	var private any
	switch kind {
	case RSA:
		private, err = rsa.GenerateKey(rand.Reader, bits)
	case Ed25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("key type %q: expected %s or %s", kind, RSA, Ed25519)
	}
	if err != nil {
		return nil, fmt.Errorf("generate %s key: %w", kind, err)
	}
	key, err := newKey(private)
	if err != nil {
		return nil, err
	}
	key.Domain, key.Selector = domain, selectorOf(selector, kind)
	key.Path = filepath.Join(dir, domain, selector+"."+kind+".pem")
	if err := key.prove(); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return key, writeKey(dir, key.Path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func writeKey(dir, path string, text []byte) error {
	domainDir := filepath.Dir(path)
	if err := os.MkdirAll(domainDir, 0o750); err != nil {
		return fmt.Errorf("make key directory: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, keyMode)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = shareGroup(dir, domainDir, path)
	}
	if err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("write key %s: %w", path, err)
	}
	return nil
}

// shareGroup gives paths the group of dir. Only root, or a member of the group, can; for others the paths have their own
// group already.
func shareGroup(dir string, paths ...string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, -1, int(stat.Gid)); err != nil {
			return err
		}
	}
	return nil
}
