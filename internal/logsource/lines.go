package logsource

import (
	"bytes"
	"errors"
	"io"
)

// lineReader cuts a stream into lines, many at a time, without copying them.
type lineReader struct {
	in     io.Reader
	offset int64 // in the stream, of the line that comes next
	read   int64 // bytes read of that line
	full   bool  // the last read filled the buffer: there is more

	buffer []byte // buffer[start:end] is the beginning of the line that comes next
	start  int
	end    int
	long   []byte // the beginning of a line that is larger than the buffer
	lines  [][]byte
}

func newLineReader(in io.Reader, offset int64) *lineReader {
	return &lineReader{in: in, offset: offset, buffer: make([]byte, batchBytes)}
}

// next reads once and returns the whole lines that are there, which are valid until the next call. There may be none. The
// error is io.EOF when the stream has no more for now; lines then are empty.
func (r *lineReader) next() ([][]byte, error) {
	r.end = copy(r.buffer, r.buffer[r.start:r.end])
	r.start = 0
	n, err := r.in.Read(r.buffer[r.end:])
	r.end += n
	r.full = r.end == len(r.buffer)
	switch {
	case n > 0 && (err == nil || errors.Is(err, io.EOF)):
		r.read += int64(n)
		return r.cut(), nil
	case err == nil:
		return nil, io.ErrNoProgress
	}
	return nil, err
}

func (r *lineReader) cut() [][]byte {
	r.lines = r.lines[:0]
	for {
		length := bytes.IndexByte(r.buffer[r.start:r.end], '\n')
		if length < 0 {
			break
		}
		line := r.buffer[r.start : r.start+length]
		if r.long != nil {
			line, r.long = r.long, nil
		}
		r.lines = append(r.lines, trim(line))
		r.start += length + 1
	}
	left := r.end - r.start
	if len(r.lines) > 0 {
		r.offset += r.read - int64(left)
		r.read = int64(left)
	}
	if left == len(r.buffer) {
		if r.long == nil {
			r.long = bytes.Clone(r.buffer[:MaxLine])
		}
		r.start = r.end
	}
	return r.lines
}

// last returns what is left at the stream's end: a line without its line end.
func (r *lineReader) last() [][]byte {
	line := r.buffer[r.start:r.end]
	if r.long != nil {
		line = r.long
	}
	r.offset += r.read
	r.read, r.start, r.end, r.long = 0, 0, 0, nil
	if len(line) == 0 {
		return nil
	}
	return [][]byte{trim(line)}
}

func trim(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\r"))
	return line[:min(len(line), MaxLine)]
}
