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
// (hash_queue_names, hash_queue_depth in postconf(5)); a queue file is any regular file.
func countQueue(dir string) (*fleet.Queue, error) {
	var queue fleet.Queue
	for _, part := range []struct {
		name  string
		count *int
	}{{"incoming", &queue.Incoming}, {"active", &queue.Active}, {"deferred", &queue.Deferred}, {"hold", &queue.Hold}} {
		n, err := countFiles(filepath.Join(dir, part.name), maxHashDepth)
		if err != nil {
			return nil, fmt.Errorf("count queue: %w", err)
		}
		*part.count = n
	}
	return &queue, nil
}

// maxHashDepth is the deepest hash_queue_depth that Postfix takes.
const maxHashDepth = 16

// countFiles reads names and types only, in portions, so that a queue of a million files costs neither memory nor a
// stat call each. What goes away meanwhile is not counted.
func countFiles(dir string, depth int) (n int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(512)
		for _, entry := range entries {
			switch {
			case entry.Type().IsRegular():
				n++
			case entry.IsDir() && depth > 0 && len(entry.Name()) == 1:
				below, err := countFiles(filepath.Join(dir, entry.Name()), depth-1)
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
