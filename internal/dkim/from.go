package dkim

import (
	"errors"
	"io"
	"mime"
	"net/mail"
	"strings"

	"golang.org/x/net/idna"
)

// Reasons why a From header gives no signing domain.
var (
	errNoFrom      = errors.New("no From header")
	errSeveralFrom = errors.New("several From headers")
	errManyAuthors = errors.New("several addresses in From")
	errBadFrom     = errors.New("From header can't be read")
)

// addresses reads From the way RFC 5322 and RFC 6532 have it. Display names are thrown away, so that any charset will do.
var addresses = mail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, text io.Reader) (io.Reader, error) { return text, nil },
}}

// authorDomain is the domain of the one address in the one From header, as it stands in DNS: lower case, A-labels. From is
// what receivers align with (RFC 7489 section 3.1), and what they disagree on where there is more than one author; so
// there is no guessing.
func authorDomain(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", errNoFrom
	case 1:
	default:
		return "", errSeveralFrom
	}
	list, err := addresses.ParseList(unfolding.Replace(values[0]))
	if err != nil || len(list) == 0 {
		return "", errBadFrom
	}
	if len(list) > 1 {
		return "", errManyAuthors
	}
	address := list[0].Address
	domain, err := asciiDomain(address[strings.LastIndexByte(address, '@')+1:])
	if err != nil {
		return "", errBadFrom
	}
	return domain, nil
}

// toASCII maps as browsers and mail clients do (UTS 46), but takes underscores, which DNS has.
var toASCII = idna.New(idna.MapForLookup(), idna.StrictDomainName(false))

// asciiDomain is a domain in lower case and A-labels.
func asciiDomain(domain string) (string, error) {
	domain = strings.TrimSuffix(domain, ".")
	for i := 0; i < len(domain); i++ {
		if domain[i] >= 0x80 {
			mapped, err := toASCII.ToASCII(domain)
			if err != nil {
				return "", err
			}
			domain = mapped
			break
		}
	}
	domain = strings.ToLower(domain)
	return domain, checkDomain(domain)
}

// unfolding takes the line ends out of a header value (RFC 5322 section 2.2.3).
var unfolding = strings.NewReplacer("\r\n", "", "\r", " ", "\n", "")
