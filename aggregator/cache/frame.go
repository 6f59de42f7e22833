package cache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// A node's file is a mark and frames one behind the other. A later frame replaces an earlier one about the same thing. All
// numbers are big-endian:
//
//	4  length of what follows the checksum
//	4  CRC-32C of that
//	1  kind
//	8  message id
//	8  when it was seen, in µs since 1970
//	8  when the message last changed, likewise
//	…  JSON
const (
	fileMark    = "postfleet memory 1\n"
	frameHead   = 8
	frameFields = 1 + 8 + 8 + 8
	maxFrame    = 1 << 20 // a message to ten thousand takes as much; larger ones are not remembered
)

// kind tells what a frame holds.
type kind byte

const (
	kindMessage     kind = 1 // fleet.Message
	kindTranscripts kind = 2 // []fleet.Transcript
	kindGone        kind = 3 // nothing: the node has the message no more
	kindCoverage    kind = 4 // coverage
)

// frame is one of a file.
type frame struct {
	kind    kind
	id      fleet.MessageID
	seen    int64 // µs
	changed int64 // µs
	body    []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is a file that this package didn't write so.
var errDamaged = errors.New("damaged")

// append adds the frame to a buffer.
func (f *frame) append(to []byte) []byte {
	at := len(to)
	to = binary.BigEndian.AppendUint32(to, uint32(frameFields+len(f.body)))
	to = append(to, 0, 0, 0, 0, byte(f.kind))
	to = binary.BigEndian.AppendUint64(to, uint64(f.id))
	to = binary.BigEndian.AppendUint64(to, uint64(f.seen))
	to = binary.BigEndian.AppendUint64(to, uint64(f.changed))
	to = append(to, f.body...)
	binary.BigEndian.PutUint32(to[at+4:], crc32.Checksum(to[at+frameHead:], castagnoli))
	return to
}

func (f *frame) size() int64 { return int64(frameHead + frameFields + len(f.body)) }

// parseFrame reads a whole frame.
func parseFrame(raw []byte) (frame, error) {
	if len(raw) < frameHead+frameFields || int(binary.BigEndian.Uint32(raw)) != len(raw)-frameHead ||
		binary.BigEndian.Uint32(raw[4:]) != crc32.Checksum(raw[frameHead:], castagnoli) {
		return frame{}, errDamaged
	}
	fields := raw[frameHead:]
	return frame{kind: kind(fields[0]), id: fleet.MessageID(binary.BigEndian.Uint64(fields[1:])), seen: int64(binary.BigEndian.Uint64(fields[9:])),
		changed: int64(binary.BigEndian.Uint64(fields[17:])), body: fields[frameFields:]}, nil
}

// readFrames calls each for every frame with its place, and gives the length of what is whole: a process that was killed
// may leave part of a frame at the end. Anything else that isn't a frame is errDamaged.
func readFrames(from io.Reader, each func(f frame, at int64)) (whole int64, err error) {
	in := bufio.NewReaderSize(from, 1<<20)
	mark := make([]byte, len(fileMark))
	if _, err := io.ReadFull(in, mark); err != nil || string(mark) != fileMark {
		return 0, fmt.Errorf("%w: not a file of this version", errDamaged)
	}
	whole = int64(len(fileMark))
	var raw []byte
	for {
		head, err := in.Peek(frameHead)
		if errors.Is(err, io.EOF) {
			return whole, nil // the end, or a part of a head
		}
		if err != nil {
			return whole, err
		}
		length := int(binary.BigEndian.Uint32(head))
		if length < frameFields || length > maxFrame {
			return whole, fmt.Errorf("%w at byte %d", errDamaged, whole)
		}
		if cap(raw) < frameHead+length {
			raw = make([]byte, frameHead+length)
		}
		raw = raw[:frameHead+length]
		switch _, err := io.ReadFull(in, raw); {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return whole, nil
		case err != nil:
			return whole, err
		}
		f, err := parseFrame(raw)
		if err != nil {
			return whole, fmt.Errorf("%w at byte %d", err, whole)
		}
		each(f, whole)
		whole += int64(len(raw))
	}
}

func micro(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}

func fromMicro(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMicro(at).UTC()
}
