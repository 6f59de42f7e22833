package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/postfleet/postfleet/internal/fleet"
)

// screen is where a command prints for people: with colours on a terminal only (https://no-color.org), and with whatever
// a mail sender chose made harmless.
type screen struct {
	io.Writer
	colours bool
}

func newScreen(out io.Writer, getenv func(string) string) screen {
	file, ok := out.(*os.File)
	return screen{out, ok && term.IsTerminal(int(file.Fd())) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// The colours, as SGR parameters (ECMA-48 section 8.3.117).
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s screen) paint(colour, text string) string {
	if !s.colours || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// fate paints the word for a status or fate.
func (s screen) fate(word string) string {
	switch word {
	case string(fleet.StatusDelivered), "sent":
		return s.paint(green, word)
	case string(fleet.StatusBounced), string(fleet.StatusExpired), string(fleet.StatusRejected), string(fleet.FatePartly):
		return s.paint(red, word)
	case string(fleet.StatusDeferred), string(fleet.StatusHeld), string(fleet.StatusQueued):
		return s.paint(yellow, word)
	}
	return word
}

// visible spells out what a terminal would obey or hide: control characters, format characters such as those that turn
// the direction of text, and bytes that are not UTF-8.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r == utf8.RuneError || !unicode.IsGraphic(r) }) {
		return text
	}
	var out strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case unicode.IsGraphic(r):
			out.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&out, `\x%02x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		text = text[size:]
	}
	return out.String()
}

// newJSON prints values as JSON, one a line. What a terminal would obey or hide is escaped (RFC 8259 section 7), which
// means the same to every reader of JSON: encoding/json leaves C1 controls and format characters as they are.
func newJSON(out io.Writer) *json.Encoder { return json.NewEncoder(inertJSON{out}) }

// inertJSON takes whole values, as an encoder writes them.
type inertJSON struct{ to io.Writer }

func (w inertJSON) Write(value []byte) (int, error) {
	if _, err := w.to.Write(escapeHidden(value)); err != nil {
		return 0, err
	}
	return len(value), nil
}

func escapeHidden(value []byte) []byte {
	hidden := func(r rune) bool { return r >= 0x7f && r != utf8.RuneError && !unicode.IsGraphic(r) }
	if !bytes.ContainsFunc(value, hidden) {
		return value
	}
	var out bytes.Buffer
	for _, r := range string(value) {
		switch {
		case !hidden(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}
