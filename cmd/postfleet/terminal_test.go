package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// JSON says the same with and without escapes, and nothing in it acts on a terminal or hides.
func TestJSONIsInert(t *testing.T) {
	for text, want := range map[string]string{
		"plain ünïcode 邮件 🙂": `"plain ünïcode 邮件 🙂"`,
		"\x1b[2J":            `"\u001b[2J"`,
		"\u009b2J\x7f":       `"\u009b2J\u007f"`,
		"a\u202egnp":         `"a\u202egnp"`,
		"\U000e0041tag":      `"\udb40\udc41tag"`,
	} {
		var out strings.Builder
		if err := newJSON(&out).Encode(text); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out.String()); got != want {
			t.Errorf("%q prints as %s, want %s", text, got, want)
		}
		var back string
		if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back != text {
			t.Errorf("%s reads as %q, %v", out.String(), back, err)
		}
	}
}
