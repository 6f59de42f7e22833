//go:build !linux || (!amd64 && !arm64) || static

package dkim

import (
	"crypto"
	"crypto/rsa"
)

// On other systems, and in a static binary, RSA is Go's.

func hasNative() bool { return false }

func openNative(*rsa.PrivateKey) (crypto.Signer, error) { return nil, errNoNative }
