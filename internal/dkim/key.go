package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Algorithms of a key; with "-sha256" behind it, of a signature (RFC 6376 section 3.3, RFC 8463 section 3).
const (
	RSA     = "rsa"
	Ed25519 = "ed25519"
)

// MinBits is the smallest RSA key that signs (RFC 8301 section 3.2 asks signers for 2048).
const MinBits = 2048

// maxKeyFile bounds what is read of a key file; RSA with 16384 bits needs 13 kB.
const maxKeyFile = 64 << 10

// ed25519Suffix is put behind the selector of an Ed25519 key. RSA and Ed25519 need a record each, and a selector may have only
// one (RFC 6376 section 3.6.2.2); so the file node1.ed25519.pem is published and used as node1-ed25519.
const ed25519Suffix = "-ed25519"

// selectorOf is the selector in DNS of a key whose file is named after base.
func selectorOf(base, kind string) string {
	if kind == Ed25519 {
		return base + ed25519Suffix
	}
	return base
}

// Key signs for one domain under one selector.
type Key struct {
	Domain   string
	Selector string // s=, see ed25519Suffix
	Kind     string // RSA or Ed25519
	Path     string // of the file it was read from

	public crypto.PublicKey
	signer crypto.Signer // Go's, or libcrypto's for RSA
}

// Algorithm is the a= tag of the key's signatures.
func (k *Key) Algorithm() string { return k.Kind + "-sha256" }

// Bits is the size of an RSA key, zero for others.
func (k *Key) Bits() int {
	if public, ok := k.public.(*rsa.PublicKey); ok {
		return public.N.BitLen()
	}
	return 0
}

// Describe is the key as node facts show it.
func (k *Key) Describe() fleet.Selector {
	return fleet.Selector{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm(), Bits: k.Bits()}
}

// sign signs the SHA-256 hash of a header block. RFC 8463 section 3: Ed25519 signs the hash as its message.
func (k *Key) sign(hash []byte) ([]byte, error) {
	options := crypto.SHA256
	if k.Kind == Ed25519 {
		options = crypto.Hash(0)
	}
	signature, err := k.signer.Sign(nil, hash, options)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k.Path, err)
	}
	return signature, nil
}

// readKey reads a private key in PEM form. kind is what the file's name promises. A file that others can read is refused: a
// key that leaked signs for everybody.
func readKey(path, kind string) (*Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: expected a regular file", path)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s: mode %04o lets others reach the private key: expected 0640 or stricter", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	private, err := parsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, err := newKey(private)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if key.Kind != kind {
		return nil, fmt.Errorf("%s: holds an %s key, its name says %s", path, key.Kind, kind)
	}
	key.Path = path
	return key, nil
}

var errPEM = errors.New("expected a private key in PEM form (PKCS #8, or PKCS #1 for RSA)")

func parsePrivate(text []byte) (any, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errPEM
	}
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	return nil, errPEM
}

// newKey takes a private key into use; domain, selector and path are the caller's to fill in.
func newKey(private any) (*Key, error) {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if bits := private.N.BitLen(); bits < MinBits {
			return nil, fmt.Errorf("RSA key of %d bits: expected at least %d (RFC 8301)", bits, MinBits)
		}
		key := &Key{Kind: RSA, public: &private.PublicKey, signer: private}
		native, err := nativeRSA(private)
		if err == nil {
			key.signer = native
		} else if !errors.Is(err, errNoNative) {
			return nil, err
		}
		return key, nil
	case ed25519.PrivateKey:
		return &Key{Kind: Ed25519, public: private.Public(), signer: private}, nil
	}
	return nil, fmt.Errorf("a %T can't sign DKIM: expected RSA or Ed25519", private)
}
