package dkim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// The message that every key signs before it is used.
const proofName, proofValue, proofBody = "From", " postfleet <postfleet@example.invalid>", "proof\r\n"

// prove signs a message and has go-msgauth verify it with the record that goes into DNS. It catches a damaged key, a wrong
// record and a signer that went wrong, at the moment when a reload can still be refused.
func (k *Key) prove() error {
	body := newBody(proofProfile.relaxedBody, 0)
	body.Write([]byte(proofBody))
	block := appendCanonical(nil, proofProfile.relaxedHeader, 0, proofName, proofValue)
	field, err := proofProfile.sign(k, []string{proofName}, block, body.close(), time.Unix(0, 0))
	if err != nil {
		return err
	}
	message := fieldName + ":" + field + "\r\n" + proofName + ":" + proofValue + "\r\n\r\n" + proofBody
	verifications, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{
		LookupTXT:        func(string) ([]string, error) { return []string{k.Record()}, nil },
		MaxVerifications: 1,
	})
	if err == nil && len(verifications) != 1 {
		err = errors.New("no signature was found")
	}
	if err == nil {
		err = verifications[0].Err
	}
	if err != nil {
		return fmt.Errorf("%s: its signature doesn't verify: %w", k.Path, err)
	}
	return nil
}
