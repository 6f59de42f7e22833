package dkim

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
)

// maxTXT is the longest character-string in a TXT record (RFC 1035 section 3.3.14).
const maxTXT = 255

// RecordName is the DNS name of the key's record (RFC 6376 section 3.6.2.1), without a dot at its end.
func (k *Key) RecordName() string { return k.Selector + "._domainkey." + k.Domain }

// Record is the key's TXT record (RFC 6376 section 3.6.1; for Ed25519 RFC 8463 section 4) as one text. h=sha256 keeps
// signatures with other hashes from ever passing under this key.
func (k *Key) Record() string {
	var public []byte
	switch key := k.public.(type) {
	case *rsa.PublicKey:
		public, _ = x509.MarshalPKIXPublicKey(key) // can't fail for a key that was parsed
	case ed25519.PublicKey:
		public = key
	}
	return "v=DKIM1; h=sha256; k=" + k.Kind + "; p=" + base64.StdEncoding.EncodeToString(public)
}

// ZoneRecord is the key's record as a line of a zone file, the text cut into strings of at most 255 bytes.
func (k *Key) ZoneRecord() string { return ZoneLine(k.RecordName(), k.Record()) }

// ZoneLine is a TXT record as a line of a zone file; name is without a dot at its end.
func ZoneLine(name, text string) string {
	var parts []string
	for len(text) > maxTXT {
		parts = append(parts, `"`+text[:maxTXT]+`"`)
		text = text[maxTXT:]
	}
	parts = append(parts, `"`+text+`"`)
	value := parts[0]
	if len(parts) > 1 {
		value = "( " + strings.Join(parts, "\n\t") + " )"
	}
	return name + ".\tIN\tTXT\t" + value
}
