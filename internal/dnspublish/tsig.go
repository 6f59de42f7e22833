package dnspublish

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/miekg/dns"
)

// TSIG is a key that a name server knows (RFC 8945).
type TSIG struct {
	Name      string // with a dot at its end
	Algorithm string // as miekg/dns names it
	secret    string // base64
}

var (
	tsigKey       = regexp.MustCompile(`(?s)^\s*key\s+"?([^"\s{]+)"?\s*\{(.*)\}\s*;?\s*$`)
	tsigStatement = regexp.MustCompile(`(algorithm|secret)\s+"?([^";\s]+)"?\s*;`)
	tsigComment   = regexp.MustCompile(`(?m)("[^"]*")|(?:#|//).*$`) // a secret in quotes may have // in it
)

var tsigAlgorithms = map[string]string{"hmac-sha224": dns.HmacSHA224, "hmac-sha256": dns.HmacSHA256, "hmac-sha384": dns.HmacSHA384,
	"hmac-sha512": dns.HmacSHA512}

// ReadTSIG reads a key file in the form that BIND's tsig-keygen writes and named.conf includes. A file that others can read
// is refused: whoever has the key can change the zone.
func ReadTSIG(path string) (*TSIG, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read TSIG key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read TSIG key: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("TSIG key %s: mode %04o lets others reach it: expected 0640 or stricter", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read TSIG key: %w", err)
	}
	key, err := parseTSIG(string(text))
	if err != nil {
		return nil, fmt.Errorf("TSIG key %s: %w", path, err)
	}
	return key, nil
}

func parseTSIG(text string) (*TSIG, error) {
	parts := tsigKey.FindStringSubmatch(tsigComment.ReplaceAllString(text, "$1"))
	if parts == nil {
		return nil, errors.New(`expected one key "NAME" { algorithm …; secret "…"; }; as tsig-keygen writes it`)
	}
	key := &TSIG{Name: dns.CanonicalName(parts[1])}
	for _, statement := range tsigStatement.FindAllStringSubmatch(parts[2], -1) {
		switch value := statement[2]; statement[1] {
		case "algorithm":
			key.Algorithm = tsigAlgorithms[strings.ToLower(value)]
			if key.Algorithm == "" {
				return nil, fmt.Errorf("algorithm %.40q: expected hmac-sha224, hmac-sha256, hmac-sha384 or hmac-sha512", value)
			}
		case "secret":
			if _, err := base64.StdEncoding.DecodeString(value); err != nil {
				return nil, errors.New("the secret is not base64")
			}
			key.secret = value
		}
	}
	if key.Algorithm == "" || key.secret == "" {
		return nil, errors.New("expected an algorithm and a secret")
	}
	return key, nil
}
