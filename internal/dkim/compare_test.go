package dkim

import (
	"strings"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestCompareRecord(t *testing.T) {
	dir := t.TempDir()
	key, err := Generate(dir, "example.com", "a", RSA, MinBits)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Generate(dir, "example.com", "b", RSA, MinBits)
	if err != nil {
		t.Fatal(err)
	}
	small, err := Generate(dir, "example.com", "a", Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	own := key.Record()
	_, encoded, _ := strings.Cut(own, "p=")
	for _, c := range []struct {
		name  string
		key   *Key
		texts []string
		want  fleet.KeyRecord
		words string
	}{
		{"nothing", key, nil, fleet.RecordAbsent, "no TXT record"},
		{"other texts", key, []string{"v=spf1 -all", "hello"}, fleet.RecordAbsent, "none with a key"},
		{"as written", key, []string{own}, fleet.RecordMatches, ""},
		{"beside other texts", key, []string{"v=spf1 -all", own}, fleet.RecordMatches, ""},
		{"twice", key, []string{own, own}, fleet.RecordMatches, ""},
		{"written in another way", key, []string{"p=" + encoded[:50] + " " + encoded[50:] + "; k=rsa;v=DKIM1 ; s=email:other; n=notes"}, fleet.RecordMatches, ""},
		{"without v= and k=", key, []string{"p=" + encoded}, fleet.RecordMatches, ""},
		{"a test", key, []string{own + "; t=y:s"}, fleet.RecordMatches, "t=y"},
		{"another key", key, []string{other.Record()}, fleet.RecordDiffers, "another rsa key"},
		{"another key besides", key, []string{own, other.Record()}, fleet.RecordDiffers, "several key records"},
		{"another type", key, []string{small.Record()}, fleet.RecordDiffers, "of the type ed25519, expected rsa"},
		{"swapped types", small, []string{own}, fleet.RecordDiffers, "of the type rsa, expected ed25519"},
		{"revoked", key, []string{"v=DKIM1; p="}, fleet.RecordDiffers, "revoked"},
		{"cut short", key, []string{own[:200]}, fleet.RecordDiffers, "cut short"},
		{"cut before p=", key, []string{"v=DKIM1; h=sha256; k=rs"}, fleet.RecordDiffers, "no p="},
		{"quotes as part of the text", key, []string{`"` + own + `"`}, fleet.RecordDiffers, "not whole base64"},
		{"another hash", key, []string{"v=DKIM1; h=sha1; p=" + encoded}, fleet.RecordDiffers, "sha256"},
		{"another service", key, []string{"v=DKIM1; s=tlsrpt; p=" + encoded}, fleet.RecordDiffers, "email"},
		{"a tag twice", key, []string{"v=DKIM1; p=" + encoded + "; p=" + encoded}, fleet.RecordDiffers, "twice"},
		{"a later version", key, []string{"v=DKIM2; p=" + encoded}, fleet.RecordAbsent, "none with a key"},
		{"ed25519", small, []string{small.Record()}, fleet.RecordMatches, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, words := c.key.Compare(c.texts)
			if got != c.want || !strings.Contains(words, c.words) || c.words == "" && words != "" {
				t.Errorf("%s: %q", got, words)
			}
		})
	}
	if key.Fingerprint() == other.Fingerprint() || len(key.Fingerprint()) != 64 {
		t.Errorf("fingerprints %q and %q", key.Fingerprint(), other.Fingerprint())
	}
	if got, _ := CompareRecord("nonsense", nil); got != fleet.RecordUnknown {
		t.Errorf("a record that is none: %s", got)
	}
}

func FuzzCompareRecord(f *testing.F) {
	key, err := Generate(f.TempDir(), "example.com", "a", Ed25519, 0)
	if err != nil {
		f.Fatal(err)
	}
	own := key.Record()
	for _, text := range []string{own, "v=DKIM1; p=", "k=rsa; p=AAAA", ";;;=;p", "v=DKIM1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, words := CompareRecord(own, []string{text})
		if _, public, _ := strings.Cut(own, "p="); got == fleet.RecordUnknown ||
			got == fleet.RecordMatches && !strings.Contains(strings.Join(strings.Fields(text), ""), public) {
			t.Errorf("%q: %s, %s", text, got, words)
		}
	})
}
