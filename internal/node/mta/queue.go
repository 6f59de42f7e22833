package mta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/postfleet/postfleet/internal/fleet"
)

// countQueue counts the queue files below dir. Postfix spreads a queue over directories of one character each
// (hash_queue_names, hash_queue_depth in postconf(5)); a queue file is any regular file. In incoming that holds only once the
// file is complete: what Postfix was writing when it was killed stays there for a day and a half, and is no message.
func countQueue(dir string) (*fleet.Queue, error) {
	var queue fleet.Queue
	for _, part := range []struct {
		name    string
		count   *int
		message func(os.DirEntry) bool
	}{{"incoming", &queue.Incoming, complete}, {"active", &queue.Active, isFile}, {"deferred", &queue.Deferred, isFile},
		{"hold", &queue.Hold, isFile}} {
		n, err := countFiles(filepath.Join(dir, part.name), maxHashDepth, part.message)
		if err != nil {
			return nil, fmt.Errorf("count queue: %w", err)
		}
		*part.count = n
	}
	return &queue, nil
}

// maxHashDepth is the deepest hash_queue_depth that Postfix takes.
const maxHashDepth = 16

func isFile(entry os.DirEntry) bool { return entry.Type().IsRegular() }

// complete tells a queue file that cleanup(8) has finished: it may be executed by its owner then (MAIL_QUEUE_STAT_READY in
// Postfix's mail_queue.h).
func complete(entry os.DirEntry) bool {
	if !isFile(entry) {
		return false
	}
	info, err := entry.Info()
	return err == nil && info.Mode()&0o100 != 0
}

// countFiles reads in portions, so that a queue of a million files costs no memory; a deferred queue of that size costs no
// stat call each either. What goes away meanwhile is not counted.
func countFiles(dir string, depth int, message func(os.DirEntry) bool) (n int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(512)
		for _, entry := range entries {
			switch {
			case message(entry):
				n++
			case entry.IsDir() && depth > 0 && len(entry.Name()) == 1:
				below, err := countFiles(filepath.Join(dir, entry.Name()), depth-1, message)
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					return 0, err
				}
				n += below
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
