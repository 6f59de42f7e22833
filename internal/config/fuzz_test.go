package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzConfig: whatever the file holds, it is read or its problems are named; and what was read is valid.
func FuzzConfig(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../../packaging/config/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		milter, err := ParseMilter("f", text)
		checkParsed(t, err, func() error { return milter.Validate() })
		aggregator, err := ParseAggregator("f", text)
		checkParsed(t, err, func() error { return aggregator.Validate() })
	})
}

func checkParsed(t *testing.T, err error, validate func() error) {
	t.Helper()
	var problems Problems
	switch {
	case err == nil:
		if err := validate(); err != nil {
			t.Fatalf("taken, but not valid: %v", err)
		}
	case !errors.As(err, &problems) || len(problems) == 0:
		t.Fatalf("not a list of problems: %v", err)
	default:
		for _, problem := range problems {
			if problem.Text == "" || problem.File != "f" {
				t.Fatalf("problem without words: %+v", problem)
			}
		}
	}
}
