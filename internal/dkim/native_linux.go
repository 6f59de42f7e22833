//go:build linux && (amd64 || arm64) && !static

package dkim

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// libcrypto holds the few functions of OpenSSL 3 that an RSA signature needs (EVP_PKEY_sign(3)).
type libcrypto struct {
	sha256         func() uintptr
	parse          func(kind int32, into *uintptr, der *uintptr, length int) uintptr
	freeKey        func(key uintptr)
	newContext     func(key, engine uintptr) uintptr
	freeContext    func(context uintptr)
	signInit       func(context uintptr) int32
	setPadding     func(context uintptr, padding int32) int32
	setSignatureMD func(context, md uintptr) int32
	sign           func(context uintptr, signature *byte, length *uintptr, hash *byte, hashLength uintptr) int32
}

// Values of OpenSSL's headers.
const (
	evpPKeyRSA      = 6 // NID_rsaEncryption
	rsaPKCS1Padding = 1
)

// loadLibcrypto binds the library once. Version 3 has all of these as functions; 1.1 had some as macros and is out of support.
var loadLibcrypto = sync.OnceValues(func() (*libcrypto, error) {
	handle, err := purego.Dlopen(libraryFile, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, errNoNative
	}
	lib := &libcrypto{}
	for _, function := range []struct {
		name string
		into any
	}{
		{"EVP_sha256", &lib.sha256},
		{"d2i_PrivateKey", &lib.parse},
		{"EVP_PKEY_free", &lib.freeKey},
		{"EVP_PKEY_CTX_new", &lib.newContext},
		{"EVP_PKEY_CTX_free", &lib.freeContext},
		{"EVP_PKEY_sign_init", &lib.signInit},
		{"EVP_PKEY_CTX_set_rsa_padding", &lib.setPadding},
		{"EVP_PKEY_CTX_set_signature_md", &lib.setSignatureMD},
		{"EVP_PKEY_sign", &lib.sign},
	} {
		symbol, err := purego.Dlsym(handle, function.name)
		if err != nil {
			return nil, errNoNative
		}
		purego.RegisterFunc(function.into, symbol)
	}
	return lib, nil
})

func hasNative() bool {
	_, err := loadLibcrypto()
	return err == nil
}

// nativeKey is an RSA key inside libcrypto. An EVP_PKEY may be used by several threads at once; a context may not, so each
// signature has its own.
type nativeKey struct {
	lib    *libcrypto
	handle uintptr
	public *rsa.PublicKey
}

func openNative(private *rsa.PrivateKey) (crypto.Signer, error) {
	lib, err := loadLibcrypto()
	if err != nil {
		return nil, err
	}
	der := x509.MarshalPKCS1PrivateKey(private)
	defer clear(der)
	at := uintptr(unsafe.Pointer(&der[0])) // d2i_PrivateKey moves it past the end, where no Go pointer may point
	handle := lib.parse(evpPKeyRSA, nil, &at, len(der))
	runtime.KeepAlive(der)
	if handle == 0 {
		return nil, errors.New("libcrypto refuses an RSA key that Go accepts")
	}
	key := &nativeKey{lib: lib, handle: handle, public: &private.PublicKey}
	runtime.AddCleanup(key, func(handle uintptr) { lib.freeKey(handle) }, handle)
	return key, nil
}

func (k *nativeKey) Public() crypto.PublicKey { return k.public }

// Sign makes a PKCS #1 v1.5 signature of a SHA-256 hash; the source of randomness is libcrypto's own (it blinds with it).
func (k *nativeKey) Sign(_ io.Reader, hash []byte, options crypto.SignerOpts) ([]byte, error) {
	if options.HashFunc() != crypto.SHA256 || len(hash) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("expected a SHA-256 hash, not %d bytes of %s", len(hash), options.HashFunc())
	}
	context := k.lib.newContext(k.handle, 0)
	if context == 0 {
		return nil, errors.New("libcrypto gave no signing context")
	}
	defer k.lib.freeContext(context)
	if k.lib.signInit(context) != 1 || k.lib.setPadding(context, rsaPKCS1Padding) != 1 || k.lib.setSignatureMD(context, k.lib.sha256()) != 1 {
		return nil, errors.New("libcrypto refused the signature's parameters")
	}
	signature := make([]byte, k.public.Size())
	length := uintptr(len(signature))
	done := k.lib.sign(context, &signature[0], &length, &hash[0], uintptr(len(hash)))
	runtime.KeepAlive(k)
	if done != 1 || length != uintptr(len(signature)) {
		return nil, errors.New("libcrypto made no signature")
	}
	return signature, nil
}
