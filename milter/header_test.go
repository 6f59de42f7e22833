package milter

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestDecodeHeader(t *testing.T) {
	tests := map[string]struct{ raw, want string }{
		"plain":               {" Hello", "Hello"},
		"folded":              {" one\n two\r\n\tthree", "one two\tthree"},
		"base64":              {" =?utf-8?b?SGVsbG8g4oKs?=", "Hello €"},
		"quoted, Latin-1":     {" =?iso-8859-1?Q?J=FCrgen_M?=", "Jürgen M"},
		"ISO-2022-JP":         {" =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"},
		"Windows-1251":        {" =?windows-1251?B?z/Do4uXy?=", "Привет"},
		"words run together":  {" =?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		"unknown charset":     {" =?x-klingon?q?abc?=", "=?x-klingon?q?abc?="},
		"broken base64":       {" =?utf-8?b?!!!?=", "=?utf-8?b?!!!?="},
		"UTF-8 as it is":      {" Grüße", "Grüße"},
		"bytes of Latin-1":    {" Gr\xfc\xdfe", "Grüße"},
		"markup":              {" <script>alert(1)</script>", "<script>alert(1)</script>"},
		"bidi and control":    {" a\u202eb\x07c", "a\u202eb\x07c"},
		"empty":               {"", ""},
		"decodes to no UTF-8": {" =?utf-8?q?=FF?=", "ÿ"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, decodeHeader(test.raw)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeptHeaders(t *testing.T) {
	var k keptHeaders
	for _, field := range [][2]string{{"SUBJECT", " first"}, {"Subject", " second"}, {"from", " a"}, {"TO", " b"},
		{"message-id", " <x@y>"}, {"X-From", " no"}, {"Subjects", " no"}, {"Authentication-Results", " mx; spf=pass"}} {
		k.keep(field[0], field[1])
	}
	var all, none fleet.Recorded
	k.record(&all, everything)
	k.record(&none, nil)
	want := fleet.Recorded{Subject: "first", HeaderFrom: "a", HeaderTo: "b", MessageID: "x@y"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(fleet.Recorded{}, none); diff != "" {
		t.Error(diff)
	}
}

func TestTestMessageKeepsWhatOthersSayOfIt(t *testing.T) {
	var k keptHeaders
	for _, field := range [][2]string{{"authentication-results", " mx.example.net;\r\n\tspf=pass"}, {"Authentication-Results", " relay; dkim=pass"},
		{"Date", " Mon, 23 Nov 2026 16:00:00 +0000"}, {"X-Postfleet-Test", " n1"}} {
		k.keep(field[0], field[1])
	}
	var r fleet.Recorded
	k.record(&r, everything)
	want := fleet.Recorded{Date: "Mon, 23 Nov 2026 16:00:00 +0000", AuthResults: []string{"mx.example.net;\tspf=pass", "relay; dkim=pass"}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
}

// FuzzHeader: whatever a sender writes, what is stored is bounded, valid UTF-8.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{" =?utf-8?b?SGVsbG8g4oKs?=", " =?iso-2022-jp?B?GyRCRnw=?=", " \xff\xfe\n x", strings.Repeat("é", 3000),
		strings.Repeat("=?utf-8?q?=E2=82=AC?= ", 400)} {
		f.Add("Subject", seed)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		var k keptHeaders
		k.keep(name, value)
		k.keep("Subject", value)
		var r fleet.Recorded
		k.record(&r, everything)
		for _, text := range []string{r.Subject, r.HeaderFrom, r.HeaderTo, r.MessageID, clean(value, maxName)} {
			if !utf8.ValidString(text) || len(text) > maxDecodedHeader {
				t.Fatalf("%d bytes, valid %t: %q", len(text), utf8.ValidString(text), text)
			}
		}
	})
}
