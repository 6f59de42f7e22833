package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/postfixlog"
)

func newReplay() *cobra.Command {
	var year int
	var zone string
	cmd := &cobra.Command{
		Use:   "replay FILE…",
		Short: "Parse Postfix logs and print one JSON object a message",
		Long: `Parse Postfix logs, without a configuration or a repository, and print one JSON object a message, as
soon as nothing more is expected about it. Files are read in the order given, so give the oldest first; names that end in .gz are
decompressed, and - reads standard input.

Stamps without a year are taken for the latest that doesn't lead past the file's modification time, or past now for
standard input. --year gives the year of the first stamp instead, and it is counted on where December turns into January.
They are read in this host's time zone, or in the one that --zone names.`,
		Example: "  postfleet replay /var/log/mail.log.1 /var/log/mail.log\n  zcat mail.log-2024*.gz | postfleet replay --year 2024 -",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				return usageError{errors.New("replay: no file named (- reads standard input)")}
			}
			if year != 0 && (year < 1970 || year > 9999) {
				return usageError{fmt.Errorf("replay: --year %d: expected a year from 1970 to 9999", year)}
			}
			location, err := time.LoadLocation(zone)
			if err != nil {
				return usageError{fmt.Errorf("replay: --zone %q: expected a name like Europe/Berlin: %w", zone, err)}
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			r := replay{tracker: postfixlog.New(postfixlog.Options{Location: location, Year: year}), messages: postfixlog.NewReplay(),
				byYear: year != 0, out: newJSON(out), stdin: cmd.InOrStdin(), progress: progressTo(cmd.ErrOrStderr())}
			r.out.SetEscapeHTML(false)
			if err := r.files(files); err != nil {
				return errors.Join(err, out.Flush())
			}
			r.progress.done()
			return out.Flush()
		},
	}
	cmd.Flags().IntVar(&year, "year", 0, "year of the first stamp, where stamps have none")
	cmd.Flags().StringVar(&zone, "zone", "Local", "time zone of stamps that have none")
	return cmd
}

// replay is one run of the command.
type replay struct {
	tracker  *postfixlog.Tracker
	messages *postfixlog.Replay
	byYear   bool
	out      *json.Encoder
	stdin    io.Reader
	progress *progress
}

// Lines between looks at what is finished: often enough to bound memory, seldom enough to cost nothing.
const replayBatch = 20_000

func (r *replay) files(names []string) error {
	for _, name := range names {
		if err := r.file(name); err != nil {
			return err
		}
	}
	r.messages.Add(r.tracker.Flush())
	return r.print(r.messages.Rest())
}

func (r *replay) file(name string) error {
	in, written := r.stdin, time.Now()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			written = info.ModTime()
		}
		in = f
		if strings.HasSuffix(name, ".gz") {
			unzipped, err := gzip.NewReader(bufio.NewReader(f))
			if err != nil {
				return fmt.Errorf("replay: %s: %w", name, err)
			}
			in = unzipped
		}
	}
	if !r.byYear {
		r.tracker.SetReference(written)
	}
	if err := r.lines(bufio.NewReaderSize(in, 256<<10)); err != nil {
		return fmt.Errorf("replay: read %s: %w", name, err)
	}
	return nil
}

func (r *replay) lines(in *bufio.Reader) error {
	var long []byte // the beginning of a line that is longer than the buffer
	for count := 1; ; count++ {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if len(long) < postfixlog.MaxLine {
				long = append(long, line...)
			}
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if len(long) > 0 {
			line, long = append(long, line...), nil
		}
		if len(line) > 0 {
			r.tracker.Feed(bytes.TrimRight(line, "\r\n"))
		}
		if count%replayBatch == 0 || err != nil {
			r.messages.Add(r.tracker.Flush())
			if failed := r.print(r.messages.Finished()); failed != nil || err != nil {
				return failed
			}
			r.progress.show(r.tracker.Counts(), r.messages.Len())
		}
	}
}

// replayed is a message as the command prints it.
type replayed struct {
	QueueID    string              `json:"queue_id"`
	FirstSeen  time.Time           `json:"first_seen"`
	From       string              `json:"from"`
	MessageID  string              `json:"message_id"`
	Size       int64               `json:"size"`
	Recipients []replayedRecipient `json:"recipients"`
	Removed    *time.Time          `json:"removed"` // null while it is in the queue
}

// replayedRecipient has the last attempt's outcome.
type replayedRecipient struct {
	To       string       `json:"to"`
	OrigTo   string       `json:"orig_to"`
	Status   fleet.Status `json:"status"`
	DSN      string       `json:"dsn"`
	Relay    string       `json:"relay"`
	Reply    string       `json:"reply"`
	Attempts int          `json:"attempts"`
}

func (r *replay) print(messages []*fleet.Message) error {
	for _, m := range messages {
		printed := replayed{QueueID: m.QueueID, FirstSeen: m.FirstSeen, From: m.Sender, MessageID: m.MessageID, Size: m.Size,
			Recipients: make([]replayedRecipient, len(m.Recipients))}
		if !m.Removed.IsZero() {
			printed.Removed = &m.Removed
		}
		for i := range m.Recipients {
			to := &m.Recipients[i]
			printed.Recipients[i] = replayedRecipient{To: to.Address, OrigTo: to.OrigTo, Status: to.Status, DSN: to.DSN, Relay: to.Relay,
				Reply: to.Reply, Attempts: len(to.Attempts)}
		}
		if err := r.out.Encode(printed); err != nil {
			return fmt.Errorf("replay: print a message: %w", err)
		}
	}
	return nil
}

// progress tells a person at a terminal how far a long replay is. It is nil, and silent, for anything else.
type progress struct {
	to    io.Writer
	since time.Time
	shown bool
}

func progressTo(to io.Writer) *progress {
	if f, ok := to.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progress{to: to, since: time.Now()}
	}
	return nil
}

func (p *progress) show(counts postfixlog.Counts, held int) {
	if p == nil || time.Since(p.since) < time.Second {
		return
	}
	p.since, p.shown = time.Now(), true
	fmt.Fprintf(p.to, "\r%d lines, at %s, %d messages open\x1b[K", counts.Lines, counts.Last.Format(time.RFC3339), held)
}

func (p *progress) done() {
	if p != nil && p.shown {
		fmt.Fprintln(p.to)
	}
}
