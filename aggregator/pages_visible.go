package aggregator

import (
	"fmt"
	"html"
	"html/template"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible turns text that a mail sender or a remote server chose into HTML that can neither act nor deceive: markup is
// escaped, every character that would be invisible or would reorder its surroundings is shown by name, and the whole is
// isolated, so that right-to-left text stays inside its own cell (Unicode UAX #9, section 6.5).
func visible(text string) template.HTML {
	var b strings.Builder
	b.Grow(len(text) + 16)
	b.WriteString("<bdi>")
	start := 0
	for at, prev := 0, rune(0); at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		if name, shown, odd := oddity(r, size, text[at], prev, text[at+size:]); odd {
			b.WriteString(html.EscapeString(text[start:at]))
			fmt.Fprintf(&b, `<span class="ctl" title="%s">%s</span>`, name, shown)
			start = at + size
		}
		prev, at = r, at+size
	}
	b.WriteString(html.EscapeString(text[start:]))
	b.WriteString("</bdi>")
	return template.HTML(b.String()) //nolint:gosec // every part was escaped above
}

// plain is visible for places that take text only, such as title attributes and <title>.
func plain(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for at, prev := 0, rune(0); at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		if _, shown, odd := oddity(r, size, text[at], prev, text[at+size:]); odd {
			b.WriteString(shown)
		} else {
			b.WriteString(text[at : at+size])
		}
		prev, at = r, at+size
	}
	return b.String()
}

// oddity names a character that can't be seen as it is, and what to show instead.
func oddity(r rune, size int, first byte, prev rune, rest string) (name, shown string, odd bool) {
	switch {
	case r == utf8.RuneError && size <= 1:
		return fmt.Sprintf("byte 0x%02X, not UTF-8", first), fmt.Sprintf("⟦%02X⟧", first), true
	case r == '\t': // folds headers, and hides nothing
		return "", "", false
	case r < 0x20:
		return fmt.Sprintf("U+%04X control character", r), "⟦" + controlNames[r] + "⟧", true
	case r == 0x7f:
		return "U+007F control character", "⟦DEL⟧", true
	case r == 0x200d && joinsPictures(prev, rest):
		return "", "", false
	case r == ' ' || unicode.IsGraphic(r) && !unicode.Is(blanks, r):
		return "", "", false
	}
	return fmt.Sprintf("U+%04X %s", r, kind(r)), fmt.Sprintf("⟦U+%04X⟧", r), true
}

// controlNames are the names of U+0000 to U+001F. Fonts often lack Unicode's pictures of them.
var controlNames = [...]string{"NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI",
	"DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US"}

// blanks are graphic by Unicode's book and yet show nothing.
var blanks = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x2800, Hi: 0x2800, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
	},
}

// joinsPictures tells a zero-width joiner that holds an emoji together from one that hides in a word.
func joinsPictures(prev rune, rest string) bool {
	next, _ := utf8.DecodeRuneInString(rest)
	return (unicode.Is(unicode.So, prev) || unicode.Is(unicode.Sk, prev) || prev == 0xfe0f) && unicode.Is(unicode.So, next)
}

func kind(r rune) string {
	switch {
	case unicode.Is(unicode.Bidi_Control, r):
		return "changes the direction of text"
	case unicode.Is(unicode.Cc, r):
		return "control character"
	case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), unicode.Is(blanks, r):
		return "invisible character"
	}
	return "character that can't be shown"
}

// clipped is visible text of at most so many runes; what is left out is counted.
func clipped(most int, text string) template.HTML {
	at, n := 0, 0
	for at < len(text) && n < most {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
		n++
	}
	if at == len(text) {
		return visible(text)
	}
	left := utf8.RuneCountInString(text[at:])
	return visible(text[:at]) + template.HTML(fmt.Sprintf(`<span class="clip">… %d more characters</span>`, left)) //nolint:gosec // a number
}

// clipPlain is plain text of at most so many runes, for attributes.
func clipPlain(most int, text string) string {
	runes := 0
	for at := range text {
		if runes == most {
			return plain(text[:at]) + "…"
		}
		runes++
	}
	return plain(text)
}
