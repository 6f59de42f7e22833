package repository

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilter(t *testing.T) {
	const keys = 100_000
	f := &filter{}
	random := rand.New(rand.NewPCG(1, 2))
	known := make([]uint64, keys)
	for i := range known {
		known[i] = random.Uint64()
		f.add(known[i])
	}
	f, err := decodeFilter(f.encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range known {
		if !f.has(key) {
			t.Fatalf("%x was added", key)
		}
	}
	wrong := 0
	for range keys {
		if f.has(random.Uint64()) {
			wrong++
		}
	}
	if wrong > keys/50 {
		t.Errorf("%d of %d answers are a false yes", wrong, keys)
	}
	if size := len(f.encode()); size > keys*4 {
		t.Errorf("%d bytes for %d keys", size, keys)
	}
}

// FuzzFilter: stored bytes that are no filter are an error, never a panic.
func FuzzFilter(f *testing.F) {
	small := &filter{}
	small.add(1)
	f.Add(small.encode()[:64])
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, body []byte) {
		known, err := decodeFilter(body)
		if err != nil {
			return
		}
		known.has(42)
		again, err := decodeFilter(known.encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(known, again, cmp.AllowUnexported(filter{}, filterLayer{})); diff != "" {
			t.Error(diff)
		}
	})
}
