package aggregator

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

func TestVisible(t *testing.T) {
	for _, c := range []struct{ name, in, plain string }{
		{"ordinary text", "Grüße, ご注文 №7", "Grüße, ご注文 №7"},
		{"control characters", "a\x00b\x07c\x1b[31m\td\x7f\u0085", "a⟦NUL⟧b⟦BEL⟧c⟦ESC⟧[31m\td⟦DEL⟧⟦U+0085⟧"},
		{"direction", "gpj.\u202eexe\u2066x\u2069\u200f\u061c", "gpj.⟦U+202E⟧exe⟦U+2066⟧x⟦U+2069⟧⟦U+200F⟧⟦U+061C⟧"},
		{"invisible", "pay\u200bpal\ufeff\u2060\u00ad\u2800\u3164\U000e0041", "pay⟦U+200B⟧pal⟦U+FEFF⟧⟦U+2060⟧⟦U+00AD⟧⟦U+2800⟧⟦U+3164⟧⟦U+E0041⟧"},
		{"line ends", "a\r\nb\u2028c", "a⟦CR⟧⟦LF⟧b⟦U+2028⟧c"},
		{"not UTF-8", "caf\xe9 \xff\xfe", "caf⟦E9⟧ ⟦FF⟧⟦FE⟧"},
		{"a real replacement character", "\ufffd", "\ufffd"},
		{"joined emoji stay whole", "👩\u200d🚀 and a\u200db", "👩\u200d🚀 and a⟦U+200D⟧b"},
		{"a no-break space looks like a space", "a\u00a0b", "a\u00a0b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := plain(c.in); got != c.plain {
				t.Errorf("plain = %q, want %q", got, c.plain)
			}
			if got := textOf(t, string(visible(c.in))); got != c.plain {
				t.Errorf("visible says %q, want %q", got, c.plain)
			}
		})
	}
}

func TestVisibleEscapes(t *testing.T) {
	const want = `<bdi>&lt;img src=x onerror=&#34;a&amp;b&#34;&gt;<span class="ctl" title="U+202E changes the direction of text">⟦U+202E⟧</span>&#39;</bdi>`
	if got := string(visible("<img src=x onerror=\"a&b\">\u202e'")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestClipped(t *testing.T) {
	for _, c := range []struct {
		in   string
		most int
		want string
	}{
		{"short", 5, "short"}, {"äöü and more", 3, "äöü… 9 more characters"}, {"\xff\xff\xff", 2, "⟦FF⟧⟦FF⟧… 1 more characters"}, {"", 3, ""},
	} {
		if got := textOf(t, string(clipped(c.most, c.in))); got != c.want {
			t.Errorf("clipped(%d, %q) says %q, want %q", c.most, c.in, got, c.want)
		}
	}
	if got := clipPlain(3, "äöü\u202e"); got != "äöü…" {
		t.Errorf("clipPlain = %q", got)
	}
}

// FuzzVisible: whatever a stranger sends, what is shown has no markup of theirs and no character that hides.
func FuzzVisible(f *testing.F) {
	for _, seed := range []string{"", "a", "<script>alert(1)</script>", "\x00\u202e\xff", "</bdi>", "&lt;", "👩\u200d\u202e🚀"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		shown := textOf(t, string(visible(in)))
		if shown != plain(in) {
			t.Errorf("visible says %q, plain %q", shown, plain(in))
		}
		if !utf8.ValidString(shown) {
			t.Errorf("%q is not UTF-8", shown)
		}
		for _, r := range shown {
			if unicode.IsControl(r) && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%q holds %U", shown, r)
			}
		}
	})
}

// textOf is the text of a fragment that may hold nothing but bdi and the spans of [visible].
func textOf(t *testing.T, fragment string) string {
	t.Helper()
	var text strings.Builder
	tokens := html.NewTokenizer(strings.NewReader(fragment))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return text.String()
		case html.TextToken:
			text.Write(tokens.Text())
		case html.StartTagToken:
			token := tokens.Token()
			if token.Data != "bdi" && token.Data != "span" {
				t.Fatalf("element %s in %s", token.Data, fragment)
			}
			for _, a := range token.Attr {
				if a.Key != "class" && a.Key != "title" {
					t.Fatalf("attribute %s in %s", a.Key, fragment)
				}
			}
		case html.EndTagToken:
		default:
			t.Fatalf("unexpected %s in %s", tokens.Token(), fragment)
		}
	}
}
