package accounts

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Password lengths. The upper bound keeps a sign-in attempt cheap to refuse.
const (
	MinPassword = 12   // characters
	MaxPassword = 1024 // bytes
)

// costs are the parameters of argon2id.
type costs struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

// ours is the second recommended choice of RFC 9106 section 4, with one lane: sign-ins share the machine with mail.
var ours = costs{memory: 64 << 10, passes: 3, lanes: 1}

// Bounds of the parameters that a hash in the file may ask for.
const (
	maxMemory = 1 << 20 // KiB
	maxPasses = 64
	saltBytes = 16
	hashBytes = 32
)

// CheckPassword tells what is wrong with a new password.
func CheckPassword(password string) error {
	switch {
	case !utf8.ValidString(password) || strings.ContainsAny(password, "\x00\r\n"):
		return errors.New("password is not one line of valid UTF-8 text")
	case utf8.RuneCountInString(password) < MinPassword:
		return fmt.Errorf("password is shorter than %d characters", MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("password is longer than %d bytes", MaxPassword)
	}
	return nil
}

// hashPassword is the PHC string of a password with a fresh salt: $argon2id$v=19$m=65536,t=3,p=1$SALT$HASH.
func hashPassword(password string) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	return phc{costs: ours, salt: salt, hash: ours.hash(password, salt, hashBytes)}.String()
}

func (c costs) hash(password string, salt []byte, length int) []byte {
	return argon2.IDKey([]byte(password), salt, c.passes, c.memory, c.lanes, uint32(length))
}

// phc is a password hash in the PHC string format
// (https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md).
type phc struct {
	costs
	salt, hash []byte
}

func (p phc) String() string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.passes, p.lanes,
		encode(p.salt), encode(p.hash))
}

func parsePHC(text string) (phc, error) {
	fields := strings.Split(text, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, fmt.Errorf("not an argon2id hash, version %d, in PHC format", argon2.Version)
	}
	var p phc
	if n, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil || n != 3 {
		return phc{}, errors.New("argon2id parameters are not m=,t=,p=")
	}
	if p.memory == 0 || p.memory > maxMemory || p.passes == 0 || p.passes > maxPasses || p.lanes == 0 {
		return phc{}, errors.New("argon2id parameters are out of bounds")
	}
	var err error
	if p.salt, err = base64.RawStdEncoding.DecodeString(fields[4]); err != nil || len(p.salt) < 8 {
		return phc{}, errors.New("argon2id salt is not base64 of 8 bytes or more")
	}
	if p.hash, err = base64.RawStdEncoding.DecodeString(fields[5]); err != nil || len(p.hash) < 16 || len(p.hash) > 64 {
		return phc{}, errors.New("argon2id hash is not base64 of 16 to 64 bytes")
	}
	return p, nil
}

// matches compares in constant time.
func (p phc) matches(password string) bool {
	return subtle.ConstantTimeCompare(p.costs.hash(password, p.salt, len(p.hash)), p.hash) == 1
}
