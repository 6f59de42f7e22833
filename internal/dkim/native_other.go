//go:build !linux || (!amd64 && !arm64)

package dkim

import (
	"crypto"
	"crypto/rsa"
)

// openNative: on other systems RSA is Go's.
func openNative(*rsa.PrivateKey) (crypto.Signer, error) { return nil, errNoNative }
