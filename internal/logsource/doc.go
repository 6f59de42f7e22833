// Package logsource follows Postfix' log where it is: a file (syslog's, or Postfix' own maillog_file) or the systemd
// journal. It hands on whole lines in batches, each with the cursor behind its last line, and doesn't look into them.
//
// A source never gives up: a file that isn't there yet or can't be read, and a journalctl that fails, are named in its
// state and tried again. It starts after a cursor and passes over nothing behind it, whatever log rotation did meanwhile:
// a file that was renamed is read to its end before the new one, and after a restart the renamed or copied file is looked
// for beside the log.
//
// Cursor and what was made of the lines are to be stored in one transaction by the function that Run calls; see package
// postfixlog for the loop. A batch is handed on again when that function failed or the process ended before it returned.
package logsource

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Batch is lines that follow each other in the log.
type Batch struct {
	Lines  [][]byte  // without line ends; valid until emit returns
	Cursor string    // the position behind them
	Read   time.Time // when they were read: they were written before
}

// Source is a log that is followed.
type Source interface {
	// Run hands on what follows the cursor from, an empty one meaning the log's beginning, and then what is written,
	// until ctx ends, which is no error, or emit fails, whose error it returns. A source runs once at a time.
	Run(ctx context.Context, from string, emit func(Batch) error) error

	// State tells how far the source is. Source, Error, BehindBytes and Lines are filled in. It can be called at any time.
	State() fleet.LogState
}

// MaxLine is how much of a line is handed on; the rest of a longer one is left out.
const MaxLine = 64 << 10

// batchBytes is about how much a batch holds while there is much to read: large enough for transactions to be few.
const batchBytes = 512 << 10
