package repository

import (
	"encoding/binary"
	"errors"
)

// filter is a Bloom filter over the lookup keys of a segment. It answers for the many new queue ids that no older file
// knows them, without a read. It grows by layers, each twice the last.
type filter struct{ layers []filterLayer }

type filterLayer struct {
	bits []uint64
	room uint64 // keys that it still takes
}

const (
	filterFirst  = 4096 // keys in the first layer
	filterBits   = 12   // a key; with 6 probes one answer in about 300 is a false yes, and costs one look into the index
	filterProbes = 6
)

func (f *filter) add(key uint64) {
	n := len(f.layers)
	if n == 0 || f.layers[n-1].room == 0 {
		room := uint64(filterFirst) << min(n, 10)
		f.layers = append(f.layers, filterLayer{bits: make([]uint64, room*filterBits/64), room: room})
		n++
	}
	layer := &f.layers[n-1]
	layer.room--
	probe(key, uint64(len(layer.bits))*64, func(bit uint64) bool {
		layer.bits[bit/64] |= 1 << (bit % 64)
		return true
	})
}

// addOnce adds a key unless it seems to be there.
func (f *filter) addOnce(key uint64) {
	if !f.has(key) {
		f.add(key)
	}
}

func (f *filter) has(key uint64) bool {
	for _, layer := range f.layers {
		if probe(key, uint64(len(layer.bits))*64, func(bit uint64) bool { return layer.bits[bit/64]&(1<<(bit%64)) != 0 }) {
			return true
		}
	}
	return false
}

// probe visits the bits of a key, which is a hash already, by double hashing, as long as visit answers true.
func probe(key, size uint64, visit func(bit uint64) bool) bool {
	step := (key>>32 | key<<32) | 1
	for range filterProbes {
		if !visit(key % size) {
			return false
		}
		key += step
	}
	return true
}

func (f *filter) encode() []byte {
	var out []byte
	for _, layer := range f.layers {
		out = binary.LittleEndian.AppendUint64(out, layer.room)
		out = binary.LittleEndian.AppendUint64(out, uint64(len(layer.bits)))
		for _, word := range layer.bits {
			out = binary.LittleEndian.AppendUint64(out, word)
		}
	}
	return out
}

func decodeFilter(body []byte) (*filter, error) {
	f := &filter{}
	for len(body) > 0 {
		if len(body) < 16 {
			return nil, errors.New("filter is cut short")
		}
		layer := filterLayer{room: binary.LittleEndian.Uint64(body)}
		words := binary.LittleEndian.Uint64(body[8:])
		body = body[16:]
		if words == 0 || words > uint64(len(body)/8) {
			return nil, errors.New("filter is cut short")
		}
		layer.bits = make([]uint64, words)
		for i := range layer.bits {
			layer.bits[i] = binary.LittleEndian.Uint64(body[i*8:])
		}
		body = body[words*8:]
		f.layers = append(f.layers, layer)
	}
	return f, nil
}
