package logsource

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// entry is a journal entry as `journalctl -o json` prints it.
type entry struct {
	Cursor     string `json:"__CURSOR"`
	Realtime   field  `json:"__REALTIME_TIMESTAMP"` // µs since 1970
	Message    field  `json:"MESSAGE"`
	Identifier field  `json:"SYSLOG_IDENTIFIER"`
	SyslogPID  field  `json:"SYSLOG_PID"`
	PID        field  `json:"_PID"`
	Hostname   field  `json:"_HOSTNAME"`
}

// field is the value of a journal field: text, or an array of bytes where it isn't printable UTF-8, or an array of such
// values where the field was given more than once, of which the first counts.
type field []byte

func (f *field) UnmarshalJSON(raw []byte) error {
	*f = nil
	switch raw[0] {
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		*f = field(text)
		return err
	case '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil || len(items) == 0 {
			return err
		}
		if items[0][0] == '"' || items[0][0] == '[' {
			return f.UnmarshalJSON(items[0])
		}
		for _, item := range items {
			n, err := strconv.ParseUint(string(item), 10, 8)
			if err != nil {
				return fmt.Errorf("byte of a journal field: %w", err)
			}
			*f = append(*f, byte(n))
		}
	}
	return nil // null: too large, or not there
}

// entries are the lines of a batch, one behind the other in one piece of memory.
type entries struct {
	text   []byte
	ends   []int
	count  int
	cursor string // of the last entry
}

func (e *entries) reset() {
	e.text, e.ends, e.count, e.cursor = e.text[:0], e.ends[:0], 0, ""
}

// add puts an entry's line together: "STAMP HOST IDENTIFIER[PID]: MESSAGE". An entry without a message counts for its
// cursor only.
func (e *entries) add(raw []byte) error {
	var read entry
	if err := json.Unmarshal(raw, &read); err != nil {
		return err
	}
	micros, err := strconv.ParseInt(string(read.Realtime), 10, 64)
	if err != nil {
		return fmt.Errorf("time of a journal entry: %w", err)
	}
	e.cursor = read.Cursor
	if len(read.Message) == 0 {
		return nil
	}
	begin := len(e.text)
	e.text = time.UnixMicro(micros).UTC().AppendFormat(e.text, "2006-01-02T15:04:05.000000Z07:00")
	e.text = append(append(e.text, ' '), or(read.Hostname, "localhost")...)
	e.text = append(append(e.text, ' '), or(read.Identifier, "unknown")...)
	if pid := or(read.SyslogPID, string(read.PID)); pid != "" {
		e.text = append(append(append(e.text, '['), pid...), ']')
	}
	e.text = append(append(e.text, ": "...), read.Message[:min(len(read.Message), MaxLine)]...)
	for i := begin; i < len(e.text); i++ {
		if e.text[i] == '\n' {
			e.text[i] = ' '
		}
	}
	e.ends = append(e.ends, len(e.text))
	e.count++
	return nil
}

func or(value field, otherwise string) string {
	if len(value) == 0 {
		return otherwise
	}
	return string(value)
}

func (e *entries) lines() [][]byte {
	lines := make([][]byte, len(e.ends))
	begin := 0
	for i, end := range e.ends {
		lines[i] = e.text[begin:end]
		begin = end
	}
	return lines
}
