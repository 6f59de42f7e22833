package node

import (
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/logsource"

	"go.uber.org/zap"
)

// positionName is the same whatever the log is: a source that meets another kind's cursor begins at its end, since the
// lines before it were read elsewhere.
const positionName = "postfix"

// The kinds of log source.
const (
	logFile    = "file"
	logJournal = "journal"
)

// logKind decides what postfix.log.source: auto means on this host at this moment.
func logKind(c *config.PostfixLog) string {
	switch {
	case c.Source != "auto":
		return c.Source
	case exists(string(c.File)):
		return logFile
	}
	return logJournal
}

func openLog(c *config.PostfixLog, log *zap.Logger) logsource.Source {
	if logKind(c) == logFile {
		return logsource.NewFile(logsource.FileOptions{Path: string(c.File), Log: log.Named("log")})
	}
	journal := logsource.JournalOptions{Log: log.Named("log")}
	if c.JournalUnit != "" {
		journal.Units = []string{c.JournalUnit}
	}
	return logsource.NewJournal(journal)
}

func logDescription(c *config.PostfixLog) string {
	if logKind(c) == logFile {
		return string(c.File)
	}
	return "the systemd journal"
}
