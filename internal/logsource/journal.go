package logsource

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// JournalOptions say what of the journal is followed.
type JournalOptions struct {
	Command   string           // empty: journalctl, found by PATH
	Matches   []string         // FIELD=VALUE as journalctl takes them; none: DefaultMatches
	Units     []string         // only of these units (journalctl --unit); with units, Matches are empty unless given
	Directory string           // empty: the host's journal
	Log       *zap.Logger      // nil: nothing is logged
	Now       func() time.Time // nil: time.Now
}

// DefaultMatches selects the mail facility (RFC 5424 section 6.2.1), which Postfix logs to unless told otherwise.
var DefaultMatches = []string{"SYSLOG_FACILITY=2"}

// Journal follows the systemd journal through a journalctl child, which is started again when it ends. The lines are put
// together from the journal's fields, in the format of a syslog file with RFC 3339 stamps in UTC.
type Journal struct {
	options JournalOptions
	status  *status
	retry   backoff
}

// NewJournal makes a source of the journal; nothing is started yet.
func NewJournal(o JournalOptions) *Journal {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Command == "" {
		o.Command = "journalctl"
	}
	if len(o.Matches) == 0 && len(o.Units) == 0 {
		o.Matches = DefaultMatches
	}
	return &Journal{options: o, status: newStatus("journal", o.Log), retry: backoff{first: 500 * time.Millisecond, last: 30 * time.Second}}
}

var _ Source = (*Journal)(nil)

// State tells how far the source is. How many bytes it is behind, the journal doesn't say.
func (j *Journal) State() fleet.LogState { return j.status.get() }

// settled is how long a child must have run for its end to count as a new trouble.
const settled = time.Minute

// Run follows the journal; see [Source]. A cursor that isn't the journal's (the node followed a file before) means the
// journal's end.
func (j *Journal) Run(ctx context.Context, from string, emit func(Batch) error) error {
	after, end := from, false
	if strings.HasPrefix(from, "{") {
		after, end = "", true
		j.options.Log.Warn("journal is followed from its end", zap.String("cursor", from))
	}
	for ctx.Err() == nil {
		began := time.Now()
		ended := j.follow(ctx, j.arguments(after, end), func(b Batch) error {
			if err := emit(b); err != nil {
				return emitError{err}
			}
			after, end = b.Cursor, false
			return nil
		})
		var refused emitError
		if errors.As(ended, &refused) {
			return refused.error
		}
		if ctx.Err() == nil {
			j.status.fail(ended)
			if time.Since(began) > settled {
				j.retry.reset()
			}
			pause(ctx, j.retry.wait())
		}
	}
	return nil
}

func (j *Journal) arguments(after string, end bool) []string {
	args := []string{"--output=json", "--all", "--follow", "--no-pager", "--quiet",
		"--output-fields=MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_HOSTNAME"}
	switch {
	case after != "":
		args = append(args, "--no-tail", "--after-cursor="+after)
	case end:
		args = append(args, "--lines=0")
	default:
		args = append(args, "--no-tail")
	}
	if j.options.Directory != "" {
		args = append(args, "--directory="+j.options.Directory)
	}
	for _, unit := range j.options.Units {
		args = append(args, "--unit="+unit)
	}
	return append(args, j.options.Matches...)
}

// follow runs one child to its end, which always has a reason.
func (j *Journal) follow(ctx context.Context, args []string, emit func(Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	child := exec.CommandContext(ctx, j.options.Command, args...)
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 2 * time.Second
	complaint := &lastLine{}
	child.Stderr = complaint
	out, err := child.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", j.options.Command, err)
	}
	if err := child.Start(); err != nil {
		return fmt.Errorf("start %s: %w", j.options.Command, err)
	}
	err = j.read(out, emit)
	cancel()
	ended := child.Wait()
	switch {
	case err != nil:
		return err
	case complaint.String() != "":
		return fmt.Errorf("%s ended: %s", j.options.Command, complaint)
	case ended != nil:
		return fmt.Errorf("%s ended: %w", j.options.Command, ended)
	}
	return fmt.Errorf("%s ended", j.options.Command)
}

// maxEntry bounds an entry as JSON, where a byte of a message can take four characters.
const maxEntry = 4 * MaxLine

// read hands on the child's entries, each time it has no more for the moment. Nil at the end of its output.
func (j *Journal) read(out io.Reader, emit func(Batch) error) error {
	in := bufio.NewReaderSize(out, maxEntry)
	var entries entries
	for {
		entry, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if err := skipLine(in); err != nil {
				return ignoreEOF(err)
			}
			j.options.Log.Warn("journal entry is too large", zap.Int("limit", maxEntry))
		case err != nil:
			return ignoreEOF(err)
		default:
			if err := entries.add(entry); err != nil {
				j.options.Log.Warn("journal entry can't be read", zap.Error(err))
			}
		}
		if in.Buffered() > 0 && len(entries.text) < batchBytes || entries.cursor == "" {
			continue
		}
		if err := emit(Batch{Lines: entries.lines(), Cursor: entries.cursor, Read: j.options.Now()}); err != nil {
			return err
		}
		j.status.read(entries.count)
		j.status.ok(0)
		entries.reset()
	}
}

func skipLine(in *bufio.Reader) error {
	for {
		if _, err := in.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// lastLine keeps the last line of what a child complains of.
type lastLine struct {
	mu   sync.Mutex
	line []byte
}

func (l *lastLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	if last := lines[len(lines)-1]; len(last) > 0 {
		l.line = bytes.Clone(last[:min(len(last), 300)])
	}
	return len(b), nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.line)
}
