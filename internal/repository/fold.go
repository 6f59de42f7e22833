package repository

import (
	"unicode"
)

// fold maps runes that any comparison of fleet.Query.Match takes for equal to one: strings.EqualFold compares by the
// orbits of simple folding, strings.ToLower by the lower-case mapping, and the two differ for a few letters.
func fold(r rune) rune {
	if r < 0x80 {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}
	return foldWide(r)
}

func foldWide(r rune) rune {
	r = unicode.ToLower(r)
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if 'A' <= least && least <= 'Z' {
		return least + ('a' - 'A')
	}
	return least
}
