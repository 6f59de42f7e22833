package dkim

import (
	"strings"
	"testing"
	"time"
)

func TestNextTemplate(t *testing.T) {
	day := time.Date(2026, 11, 30, 23, 30, 0, 0, time.FixedZone("", -3600))
	for _, c := range []struct{ template, want string }{
		{"{node}-{yyyymm}{letter}", "mx1-202612c"},
		{"{NODE}.{yyyymmdd}", "mx1.20261201"},
		{"k{letter}", "kc"},
	} {
		template, err := ParseNextTemplate(c.template, "MX1")
		if err != nil {
			t.Fatal(err)
		}
		taken := func(selector string) bool {
			return strings.HasSuffix(selector, "a") || strings.HasSuffix(selector, "b")
		}
		if got, err := template.Selector(day, taken); got != c.want || err != nil {
			t.Errorf("%s: %q, %v", c.template, got, err)
		}
		if _, err := template.Selector(day, func(string) bool { return true }); err == nil || !strings.Contains(err.Error(), "is taken") {
			t.Errorf("%s: %v", c.template, err)
		}
	}
	for template, want := range map[string]string{"{node}": "expected {yyyymm}", "{date}{letter}": "no other names in braces", "-{letter}": "expected a DNS name"} {
		if _, err := ParseNextTemplate(template, "mx1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", template, err)
		}
	}
}
