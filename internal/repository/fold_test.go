package repository

import (
	"strings"
	"testing"
	"unicode"
)

// TestFoldJoinsAllThatMatchTakesForEqual goes over all of Unicode: the index must not miss what a comparison would find.
func TestFoldJoinsAllThatMatchTakesForEqual(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if lower := unicode.ToLower(r); fold(lower) != fold(r) {
			t.Errorf("%q and its lower case %q fold to %q and %q", r, lower, fold(r), fold(lower))
		}
		if next := unicode.SimpleFold(r); fold(next) != fold(r) {
			t.Errorf("%q and %q fold to %q and %q", r, next, fold(r), fold(next))
		}
	}
	if !strings.EqualFold("Kelvin", "\u212aelvin") || fold('K') != fold('\u212a') {
		t.Error("the Kelvin sign is a K to strings.EqualFold, and must be to fold")
	}
}
