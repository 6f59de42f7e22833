package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// drainFile is the name, in the repository's directory, of the file that makes a node drain for as long as it is there.
const drainFile = "drain.json"

// drainOrder is its content.
type drainOrder struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// longest is how much of an order's texts is kept, in bytes.
const longest = 300

// WriteDrain has the node whose repository is in dir drain, or take mail again. The daemon looks at it every second, and
// when it starts. Of an order that repeats another the time of the first one stays.
func WriteDrain(dir string, order fleet.DrainOrder, now time.Time) error {
	path := filepath.Join(dir, drainFile)
	if !order.On {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("end the drain: %w", err)
		}
		return nil
	}
	content := drainOrder{Since: now.UTC(), By: clip(order.By), Reason: clip(order.Reason)}
	if before, err := readDrain(dir); err == nil && before != nil {
		content.Since = before.Since
	}
	if err := writeDrain(path, &content); err != nil {
		return fmt.Errorf("begin to drain: %w", err)
	}
	return nil
}

// writeDrain replaces the file at once. Its owner may be root, and the daemon somebody else, so that everybody may read it.
func writeDrain(path string, content *drainOrder) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), drainFile+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails after the rename, as it should
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// readDrain is nil for a node that doesn't drain. A file that makes no sense is an order all the same, of the time at which
// it was written: somebody meant it.
func readDrain(dir string) (*drainOrder, error) {
	path := filepath.Join(dir, drainFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	order := drainOrder{Since: info.ModTime().UTC()}
	text, err := os.ReadFile(path)
	if err == nil && json.Unmarshal(text, &order) != nil {
		order = drainOrder{Since: info.ModTime().UTC()}
	}
	order.By, order.Reason = clip(order.By), clip(order.Reason)
	return &order, nil
}

// clip keeps the beginning of a text that somebody gave, on one line.
func clip(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}
