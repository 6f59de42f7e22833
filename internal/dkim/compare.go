package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Compare holds the key against the TXT records that DNS has at its name, each joined to one text. What counts is the key
// that a receiver would use, not how the record is written. Texts that are no DKIM records don't count; several that differ
// do, since a receiver may take any (RFC 6376 section 3.6.2.2).
func (k *Key) Compare(texts []string) (fleet.KeyRecord, string) {
	return CompareRecord(k.Record(), texts)
}

// CompareRecord is Compare for a record as [Key.Record] writes it, for who has no private key.
func CompareRecord(want string, texts []string) (fleet.KeyRecord, string) {
	own, err := parseRecord(want)
	if err != nil {
		return fleet.RecordUnknown, "the record to compare with can't be read: " + err.Error()
	}
	var bad []string
	matching, others, note := 0, 0, ""
	for _, text := range texts {
		if !looksLikeKey(text) {
			others++
			continue
		}
		switch seen, err := parseRecord(text); {
		case err != nil:
			bad = append(bad, err.Error())
		case seen.kind != own.kind:
			bad = append(bad, "it holds a key of the type "+seen.kind+", expected "+own.kind)
		case !own.public.Equal(seen.public):
			bad = append(bad, "it holds another "+seen.kind+" key")
		default:
			matching++
			if seen.testing {
				note = "it has the test flag t=y: receivers may take the signature for a test (RFC 6376 section 3.6.1)"
			}
		}
	}
	switch {
	case len(bad) > 0 && matching > 0:
		return fleet.RecordDiffers, "there are several key records, and one is wrong: " + bad[0]
	case len(bad) > 0:
		return fleet.RecordDiffers, bad[0]
	case matching > 0:
		return fleet.RecordMatches, note
	case others > 0:
		return fleet.RecordAbsent, "the name has TXT records, none with a key"
	}
	return fleet.RecordAbsent, "no TXT record"
}

// looksLikeKey tells a DKIM record from other texts: v= is recommended only, p= required (RFC 6376 section 3.6.1).
func looksLikeKey(text string) bool {
	tags, err := parseTags(text)
	if err != nil {
		return strings.HasPrefix(strings.TrimSpace(text), "v=DKIM1")
	}
	_, has := tags["p"]
	version, named := tags["v"]
	return has && (!named || version == "DKIM1") || version == "DKIM1"
}

// record is what a DKIM record says.
type record struct {
	kind    string
	public  interface{ Equal(crypto.PublicKey) bool }
	testing bool
}

// parseRecord reads a record as a receiver of mail does (RFC 6376 section 3.6.1, RFC 8463 section 4).
func parseRecord(text string) (*record, error) {
	tags, err := parseTags(text)
	if err != nil {
		return nil, err
	}
	if version, named := tags["v"]; named && version != "DKIM1" {
		return nil, errors.New("v= is not DKIM1")
	}
	kind, named := tags["k"]
	if !named {
		kind = RSA
	}
	if hashes, named := tags["h"]; named && !slices.Contains(list(hashes), "sha256") {
		return nil, errors.New("h= doesn't allow sha256")
	}
	if services, named := tags["s"]; named && !slices.Contains(list(services), "*") && !slices.Contains(list(services), "email") {
		return nil, errors.New("s= doesn't allow email")
	}
	encoded, has := tags["p"]
	switch {
	case !has:
		return nil, errors.New("it has no p=: it may be cut short")
	case encoded == "":
		return nil, errors.New("p= is empty: the key is revoked")
	}
	r := &record{kind: kind, testing: slices.Contains(list(tags["t"]), "y")}
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("p= is not whole base64: it may be cut short")
	}
	switch kind {
	case RSA:
		r.public, err = parseRSA(der)
	case Ed25519:
		if len(der) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("p= has %d bytes, expected %d for ed25519", len(der), ed25519.PublicKeySize)
		}
		r.public = ed25519.PublicKey(der)
	default:
		return nil, fmt.Errorf("k=%.20q is no type that this node makes", kind)
	}
	return r, err
}

// parseRSA takes both forms in which RSA keys are published (RFC 6376 errata 3017).
func parseRSA(der []byte) (*rsa.PublicKey, error) {
	if public, err := x509.ParsePKIXPublicKey(der); err == nil {
		if public, ok := public.(*rsa.PublicKey); ok {
			return public, nil
		}
	}
	if public, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return public, nil
	}
	return nil, errors.New("p= holds no RSA key: it may be cut short")
}

// parseTags reads a tag list (RFC 6376 section 3.2). White space in values is left out: only p= and lists have it.
func parseTags(text string) (map[string]string, error) {
	tags := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		name, value, found := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !found {
			if name == "" {
				continue
			}
			return nil, errors.New("it is not a list of tags")
		}
		if _, twice := tags[name]; twice {
			return nil, fmt.Errorf("%.20q= is there twice", name)
		}
		tags[name] = strings.Map(func(c rune) rune {
			if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
				return -1
			}
			return c
		}, value)
	}
	return tags, nil
}

func list(text string) []string { return strings.Split(text, ":") }

// Fingerprint is the SHA-256 of the public key in PKIX form, in hex: equal for equal keys, whatever they are called.
func (k *Key) Fingerprint() string {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return "" // can't fail for a key that was parsed
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
