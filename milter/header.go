package milter

import (
	"io"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Bounds of a recorded header, raw and decoded.
const (
	maxRawHeader     = 8 << 10
	maxDecodedHeader = 2 << 10
)

// keptHeaders are the raw values of the header fields that are recorded, the first of each name.
type keptHeaders struct {
	from, to, subject, messageID, date string

	results []string // Authentication-Results, the topmost first
	test    bool     // it is a test message of the fleet's diagnostics
}

// Fields of test messages. What others say of a test is what it was sent for.
const (
	fieldResults = "Authentication-Results"
	fieldTest    = "X-Postfleet-Test"
	maxResults   = 4
	maxDate      = 100
)

func (k *keptHeaders) keep(name, value string) {
	var into *string
	switch len(name) {
	case len("To"):
		into = pick(name, "To", &k.to)
	case len("From"):
		if into = pick(name, "From", &k.from); into == nil {
			into = pick(name, "Date", &k.date)
		}
	case len("Subject"):
		into = pick(name, "Subject", &k.subject)
	case len("Message-ID"):
		into = pick(name, "Message-ID", &k.messageID)
	case len(fieldResults):
		if strings.EqualFold(name, fieldResults) && len(k.results) < maxResults {
			k.results = append(k.results, value[:min(len(value), maxRawHeader)])
		}
	case len(fieldTest):
		k.test = k.test || strings.EqualFold(name, fieldTest)
	}
	if into != nil && *into == "" {
		*into = value[:min(len(value), maxRawHeader)]
	}
}

func pick(name, wanted string, into *string) *string {
	if strings.EqualFold(name, wanted) {
		return into
	}
	return nil
}

// record decodes what the policy lets be recorded.
func (k *keptHeaders) record(r *fleet.Recorded, headers []string) {
	for _, header := range []struct {
		name string
		into *string
		raw  string
	}{{"from", &r.HeaderFrom, k.from}, {"to", &r.HeaderTo, k.to}, {"subject", &r.Subject, k.subject}} {
		if slices.Contains(headers, header.name) {
			*header.into = decodeHeader(header.raw)
		}
	}
	if slices.Contains(headers, "message-id") {
		r.MessageID = clean(fleet.TrimAngle(k.messageID), maxAddress)
	}
	r.Date = clean(strings.TrimSpace(unfolding.Replace(k.date)), maxDate)
	if !k.test {
		return
	}
	for _, result := range k.results {
		r.AuthResults = append(r.AuthResults, decodeHeader(result))
	}
}

// words decodes encoded words (RFC 2047) in any charset that browsers know.
var words = mime.WordDecoder{CharsetReader: func(charset string, text io.Reader) (io.Reader, error) {
	encoding, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return encoding.NewDecoder().Reader(text), nil
}}

// unfolding takes the line ends out of a header value (RFC 5322 section 2.2.3).
var unfolding = strings.NewReplacer("\r\n", "", "\n", "")

// decodeHeader makes a raw header value into text: unfolded, encoded words decoded, valid UTF-8, bounded. What can't be
// decoded stays as it came; nothing is hidden from the reader, who has to see what a sender wrote.
func decodeHeader(raw string) string {
	text := strings.TrimSpace(unfolding.Replace(raw))
	if strings.Contains(text, "=?") {
		if decoded, err := words.DecodeHeader(text); err == nil {
			text = decoded
		}
	}
	return clean(text, maxDecodedHeader)
}

// clean makes bytes from the peer into bounded, valid UTF-8. What isn't UTF-8 is taken for Windows-1252, the usual charset of
// mail that doesn't name one, so that every byte stays visible.
func clean(text string, most int) string {
	if !utf8.ValidString(text) {
		text = legacy(text[:min(len(text), most)])
	}
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// legacy decodes text that isn't valid UTF-8, leaving what is valid in it alone.
func legacy(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			r = charmap.Windows1252.DecodeByte(text[i])
		}
		out.WriteRune(r)
		i += size
	}
	return out.String()
}
