package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"

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
	switch {
	case txt.Status != Found:
		return fail("%s is not in DNS", k.name())
	case len(texts) > 1:
		return fail("%s has %d TXT records, and which one a receiver takes is undefined (RFC 6376 section 3.6.2.2)", k.name(), len(texts))
	}
	record, begins, well := tags(texts[0])
	public := strings.Join(strings.Fields(record["p"]), "")
	_, hasKey := record["p"]
	switch version, hasVersion := record["v"]; {
	case hasVersion && (version != "DKIM1" || begins != "v"):
		return fail("%s is no DKIM record: it begins with %.40q", k.name(), texts[0])
	case !hasKey:
		return fail("%s has no key (p=): the text is cut off or misspelt", k.name())
	case public == "":
		return fail("%s says that the key is revoked (empty p=), and the node still signs with it", k.name())
	case !strings.EqualFold(first(record["k"], "rsa"), strings.TrimSuffix(k.Algorithm, "-sha256")):
		return fail("%s holds a key of type %s, the node signs with %s", k.name(), first(record["k"], "rsa"), k.Algorithm)
	case public != k.Public:
		return fail("%s", f.otherKey(k, public))
	case !well:
		return fail("%s has tags that are doubled or have no value", k.name())
	case record["h"] != "" && !has(record["h"], "sha256"):
		return fail("%s allows the hashes %s only, the node signs with sha256", k.name(), record["h"])
	case record["s"] != "" && !has(record["s"], "*") && !has(record["s"], "email"):
		return fail("%s is for the service %s, not for email", k.name(), record["s"])
	case k.Bits > 0 && k.Bits < 1024:
		return fail("the key has %d bits, and receivers must not take less than 1024 (RFC 8301 section 3.2)", k.Bits)
	case has(record["t"], "y"):
		p = fail("%s has the test flag (t=y): receivers treat its mail as unsigned", k.name())
		p.Grade = fleet.GradeWarn
	case k.Bits > 0 && k.Bits < 2048:
		p.Grade, p.Seen = fleet.GradeWarn, fmt.Sprintf("the key has %d bits; signers should use 2048 (RFC 8301 section 3.2)", k.Bits)
		p.Mend = []string{"Make a new key under a new selector, publish its record and switch over:", "postfleet dkim keygen " + k.Domain}
	}
	return p
}

// otherKey says what stands in DNS in the place of a key.
func (f *Facts) otherKey(k *Key, public string) string {
	for i := range f.Keys {
		if other := &f.Keys[i]; other.Public == public {
			return fmt.Sprintf("%s holds the key of %s: the records are swapped", k.name(), other.name())
		}
	}
	if strings.HasPrefix(k.Public, public) {
		return fmt.Sprintf("%s is truncated: %d of the key's %d characters. Whatever wrote the record took only its first part; a text longer "+
			"than 255 bytes has to be cut into several strings of one record", k.name(), len(public), len(k.Public))
	}
	return fmt.Sprintf("%s holds another key than the one that signs", k.name())
}

func (k *Key) zoneLine() string { return k.name() + ". IN TXT ( " + quoteTXT(k.Record) + " )" }
