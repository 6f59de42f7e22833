package cache

import (
	"bytes"
	"errors"
	"testing"
)

// A file of any content is read or refused; what is read of it is what it holds.
func FuzzReadFrames(f *testing.F) {
	m := message(1)
	whole := []byte(fileMark)
	for _, one := range []frame{{kind: kindMessage, id: m.ID, seen: 1, changed: 2, body: encode(&m)}, {kind: kindGone, id: 7}, {kind: kindCoverage, body: []byte("{}")}} {
		whole = one.append(whole)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte(fileMark))
	f.Fuzz(func(t *testing.T, file []byte) {
		again := []byte(fileMark)
		length, err := readFrames(bytes.NewReader(file), func(one frame, at int64) {
			if at != int64(len(again)) {
				t.Fatalf("a frame at %d, want %d", at, len(again))
			}
			again = one.append(again)
		})
		switch {
		case err == nil && !bytes.Equal(again, file[:length]):
			t.Fatalf("read %q as %q", file, again)
		case err != nil && !errors.Is(err, errDamaged):
			t.Fatal(err)
		}
	})
}
