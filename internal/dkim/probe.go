package dkim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// Proof is what became of the signature that one key made under the policy that holds for mail.
type Proof struct {
	Domain, Selector string
	Err              error
}

// Probe signs a message of every domain that has a key, as mail is signed, and has go-msgauth verify each signature with the
// record that lookup gives at this moment. Domains that the policy doesn't sign are left out.
func (s *Signer) Probe(now time.Time, lookup func(name string) ([]string, error)) (proofs []Proof) {
	for _, domain := range s.ring.Domains() {
		signing := s.Begin(now)
		author := " postfleet <postmaster@" + domain + ">"
		signing.Header("From", author)
		signing.Body([]byte(proofBody))
		signed, err := signing.Finish(now)
		if err != nil {
			proofs = append(proofs, Proof{Domain: domain, Err: err})
		}
		for i, field := range signed.Fields {
			message := fieldName + ":" + field + "\r\nFrom:" + author + "\r\n\r\n" + proofBody
			proofs = append(proofs, Proof{Domain: signed.Signatures[i].Domain, Selector: signed.Signatures[i].Selector, Err: verifyLive(message, lookup)})
		}
	}
	return proofs
}

func verifyLive(message string, lookup func(name string) ([]string, error)) error {
	verifications, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{LookupTXT: lookup, MaxVerifications: 1})
	switch {
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	case len(verifications) != 1:
		return errors.New("no signature was found")
	}
	return verifications[0].Err
}
