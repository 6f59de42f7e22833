package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/fleet"
)

var dkimRecord = Check{
	Name: "dkim-record", Title: "DKIM record of each key that signs", Group: GroupDKIM, Needs: []Need{NeedResolver},
	Why: "A signature whose key isn't in DNS, or is another one, fails at every receiver, and DMARC with it.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for i := range f.Keys {
			parts = append(parts, published(ctx, f, &f.Keys[i]))
		}
		return parts
	},
}

func (k *Key) name() string { return k.Selector + "._domainkey." + k.Domain }

// published holds a key against its record (RFC 6376 section 3.6.1, RFC 8463, RFC 8301).
func published(ctx context.Context, f *Facts, k *Key) fleet.Part {
	txt := f.DNS.Ask(ctx, k.name(), dns.TypeTXT)
	subject := k.Selector + " of " + k.Domain
	if !txt.Known() {
		return untold(subject, txt)
	}
	p := part(subject, fleet.GradePass, "%s is there and matches the key", k.name())
	p.Evidence = []string{txt.String()}
	fail := func(format string, args ...any) fleet.Part {
		p.Grade, p.Seen = fleet.GradeFail, fmt.Sprintf(format, args...)
		p.Mend = append([]string{"Publish this one TXT record:"}, k.zoneLine())
		return p
	}
	texts := txt.Texts()
	record, words := fleet.RecordUnknown, "nothing compares it with the key"
	if f.Compare != nil {
		record, words = f.Compare(k.Record, texts)
	}
	switch {
	case record == fleet.RecordUnknown:
		return *unknown(subject, words)
	case !txt.Found():
		return fail("%s is not in DNS", k.name())
	case len(texts) > 1: // also where all of them would do: some receivers take none then
		return fail("%s has %d TXT records, and which one a receiver takes is undefined (RFC 6376 section 3.6.2.2)", k.name(), len(texts))
	case record == fleet.RecordAbsent:
		return fail("%s is no DKIM record: it begins with %.40q", k.name(), texts[0])
	case record != fleet.RecordMatches:
		return fail("%s", f.differs(k, texts[0], words))
	case k.Bits > 0 && k.Bits < 1024:
		return fail("the key has %d bits, and receivers must not take less than 1024 (RFC 8301 section 3.2)", k.Bits)
	case words != "":
		p = fail("%s matches the key, but %s", k.name(), words)
		p.Grade = fleet.GradeWarn
	case k.Bits > 0 && k.Bits < 2048:
		p.Grade, p.Seen = fleet.GradeWarn, fmt.Sprintf("the key has %d bits; signers should use 2048 (RFC 8301 section 3.2)", k.Bits)
		p.Mend = []string{"Make a new key under a new selector, publish its record and switch over:", "postfleet dkim keygen " + k.Domain}
	}
	return p
}

// differs says what stands in DNS in the place of a key. words are what the comparison found.
func (f *Facts) differs(k *Key, text, words string) string {
	for i := range f.Keys {
		other := &f.Keys[i]
		if found, _ := f.Compare(other.Record, []string{text}); other.name() != k.name() && found == fleet.RecordMatches {
			return fmt.Sprintf("%s holds the key of %s: the records are swapped", k.name(), other.name())
		}
	}
	seen, own := publicOf(text), publicOf(k.Record)
	if seen != "" && len(seen) < len(own) && strings.HasPrefix(own, seen) {
		return fmt.Sprintf("%s is truncated: %d of the key's %d characters. Whatever wrote the record took only its first part; a text longer "+
			"than 255 bytes has to be cut into several strings of one record", k.name(), len(seen), len(own))
	}
	return k.name() + " doesn't hold the key that signs: " + words
}

// publicOf is the public key as a record writes it.
func publicOf(record string) string {
	values, _ := tags(record)
	return strings.Join(strings.Fields(values["p"]), "")
}

func (k *Key) zoneLine() string { return k.name() + ". IN TXT ( " + dnsask.Quote(k.Record) + " )" }
