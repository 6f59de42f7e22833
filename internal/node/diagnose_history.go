package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// diagnosesDir is, below the repository's directory, where diagnoses are kept: a file each, named after its beginning.
const diagnosesDir = "diagnoses"

// diagnoses are a node's past diagnoses.
type diagnoses struct{ dir string }

func diagnosesOf(repository string) diagnoses {
	return diagnoses{filepath.Join(repository, diagnosesDir)}
}

// names are the files, the newest first.
func (d diagnoses) names() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if notThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read diagnoses: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if stem, ours := strings.CutSuffix(entry.Name(), ".json"); ours {
			if _, err := strconv.ParseUint(stem, 10, 63); err == nil {
				names = append(names, entry.Name())
			}
		}
	}
	slices.Sort(names) // numbers of equal length until the year 2286
	slices.Reverse(names)
	return names, nil
}

// list reads what is kept, the newest first: the latest in whole, the others in short. A file that can't be read is passed
// over: it is history, and the next run makes a new one.
func (d diagnoses) list() (latest *fleet.Diagnosis, history []fleet.DiagnosisOutline, err error) {
	names, err := d.names()
	if err != nil {
		return nil, nil, err
	}
	var older *fleet.Diagnosis
	for _, name := range slices.Backward(names) {
		one, err := d.read(name)
		if err != nil {
			continue
		}
		history = append(history, outline(one, older))
		latest, older = one, one
	}
	slices.Reverse(history)
	return latest, history, nil
}

func (d diagnoses) read(name string) (*fleet.Diagnosis, error) {
	text, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	var one fleet.Diagnosis
	if err := json.Unmarshal(text, &one); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &one, nil
}

// outline is a diagnosis in short, with what changed since the one before.
func outline(one, before *fleet.Diagnosis) fleet.DiagnosisOutline {
	o := fleet.DiagnosisOutline{Started: one.Started, Ended: one.Ended, Cause: one.Cause, By: one.By, Grades: map[string]fleet.Grade{}}
	for i := range one.Findings {
		o.Grades[one.Findings[i].Check] = one.Findings[i].Grade
	}
	if before != nil {
		o.Changes = diagnose.Compare(slices.Clone(one.Findings), before.Findings)
	}
	return o
}

// keep writes a diagnosis and removes the oldest ones past the number that is kept.
func (d diagnoses) keep(one *fleet.Diagnosis, most int) error {
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return fmt.Errorf("keep diagnosis: %w", err)
	}
	if err := writeJSON(filepath.Join(d.dir, strconv.FormatInt(one.Started.UnixMicro(), 10)+".json"), one, 0o640); err != nil {
		return fmt.Errorf("keep diagnosis: %w", err)
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names[min(len(names), most):] {
		failed = append(failed, os.Remove(filepath.Join(d.dir, name)))
	}
	return errors.Join(failed...)
}

// writeJSON replaces a file at once.
func writeJSON(path string, value any, mode os.FileMode) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails after the rename, as it should
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Chmod(mode), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
