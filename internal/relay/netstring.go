package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxQuery is the longest query that is taken, in bytes; Postfix sends at most 10,000 and the name of the map
// (socketmap_table(5)).
const maxQuery = 10_100

var errNetstring = errors.New("not a netstring")

// readNetstring reads LENGTH:BYTES, (http://cr.yp.to/proto/netstrings.txt) into buf, which it may replace by a larger one.
// The end of the connection before the first byte is io.EOF.
func readNetstring(r *bufio.Reader, buf []byte) ([]byte, error) {
	length, digits := 0, 0
	for {
		c, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && digits > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		if c == ':' && digits > 0 {
			break
		}
		// A length has no leading zero and no more digits than the longest query's.
		if c < '0' || c > '9' || digits == len("10100") || digits == 1 && length == 0 {
			return nil, errNetstring
		}
		length, digits = length*10+int(c-'0'), digits+1
	}
	if length > maxQuery {
		return nil, fmt.Errorf("%w of at most %d bytes", errNetstring, maxQuery)
	}
	if cap(buf) < length+1 {
		buf = make([]byte, length+1)
	}
	buf = buf[:length+1]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, noEOF(err)
	}
	if buf[length] != ',' {
		return nil, errNetstring
	}
	return buf[:length], nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func appendNetstring(to []byte, text string) []byte {
	to = strconv.AppendInt(to, int64(len(text)), 10)
	to = append(to, ':')
	to = append(to, text...)
	return append(to, ',')
}
