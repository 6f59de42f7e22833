package consul

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// notAsked is why nothing is known yet.
const notAsked = "Consul was not asked yet"

// saveState writes a value as JSON, readable by its owner alone, so that a reader finds the old content or the new.
func saveState(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails after the rename, as it should
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// loadState reads what saveState wrote.
func loadState(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// firstLine is the beginning of a text that others wrote, short enough for a line of a page.
func firstLine(text string) string {
	const longest = 200
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(line); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return line
}
