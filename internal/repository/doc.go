// Package repository keeps a node's messages and transcripts in SQLite files.
//
// One goroutine writes: it decides which message an event is about ([fleet.Choose]), applies it, and commits the changed
// messages of many events together, the position in the log in the same transaction. Readers have connections of their
// own and never hold it up. Files are cut by the day that their messages were first seen, transcripts apart from
// messages, so that retention is the removal of a file. docs/repository.md explains the layout and what survives what.
//
// It is the only importer of the SQLite driver, and knows nothing of the milter, the log or the web.
package repository
