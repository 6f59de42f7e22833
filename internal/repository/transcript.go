package repository

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Compression is set for little memory: conversations are a few KiB each, and a window larger than one gains nothing.
var (
	compressor = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(64<<10), zstd.WithLowerEncoderMem(true))
	})
	decompressor = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxTranscript))
	})
)

// maxTranscript bounds a transcript when it is unpacked.
const maxTranscript = 64 << 20

// storedTranscript is a transcript as stored: its lines' times as spans from its start, since a full stamp would be longer
// than most lines.
type storedTranscript struct {
	fleet.Transcript
	Lines []storedLine `json:"lines"`
}

type storedLine struct {
	After time.Duration `json:"a,omitempty"`
	From  fleet.Speaker `json:"f"`
	Text  string        `json:"t"`
	Cut   bool          `json:"c,omitempty"`
}

func encodeTranscript(t *fleet.Transcript) ([]byte, error) {
	stored := storedTranscript{Transcript: *t, Lines: make([]storedLine, len(t.Lines))}
	for i, line := range t.Lines {
		stored.Lines[i] = storedLine{After: line.Time.Sub(t.Started), From: line.From, Text: line.Text, Cut: line.Cut}
	}
	plain, err := json.Marshal(&stored)
	if err != nil {
		return nil, fmt.Errorf("encode transcript %s: %w", t.Key, err)
	}
	pack, err := compressor()
	if err != nil {
		return nil, err
	}
	return pack.EncodeAll(plain, nil), nil
}

func decodeTranscript(body []byte) (*fleet.Transcript, error) {
	unpack, err := decompressor()
	if err != nil {
		return nil, err
	}
	plain, err := unpack.DecodeAll(body, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack transcript: %w", err)
	}
	var stored storedTranscript
	if err := json.Unmarshal(plain, &stored); err != nil {
		return nil, fmt.Errorf("decode transcript: %w", err)
	}
	t := &stored.Transcript
	t.Lines = make([]fleet.Line, len(stored.Lines))
	for i, line := range stored.Lines {
		t.Lines[i] = fleet.Line{Time: t.Started.Add(line.After), From: line.From, Text: line.Text, Cut: line.Cut}
	}
	return t, nil
}
