package dkim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
)

// libraryFile is OpenSSL 3's.
const libraryFile = "libcrypto.so.3"

// errNoNative means that there is no library that signs faster than Go: not an error to the user.
var errNoNative = errors.New("no " + libraryFile)

// RSALibrary names what makes RSA signatures in this process: the system's libcrypto, or Go where the system has none and in a
// static binary (build tag static), which can't load any.
func RSALibrary() string {
	if hasNative() {
		return libraryFile
	}
	return "Go"
}

// nativeRSA is the key in the system's libcrypto, which signs three to four times as fast as crypto/rsa. Before it is
// trusted, both sign the same hash: PKCS #1 v1.5 is deterministic, so that their signatures must be the same bytes.
func nativeRSA(private *rsa.PrivateKey) (crypto.Signer, error) {
	native, err := openNative(private)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte("postfleet"))
	want, err := private.Sign(nil, hash[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign with crypto/rsa: %w", err)
	}
	got, err := native.Sign(nil, hash[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign with libcrypto: %w", err)
	}
	if !bytes.Equal(got, want) {
		return nil, errors.New("libcrypto and crypto/rsa make different signatures of the same hash")
	}
	return native, nil
}
