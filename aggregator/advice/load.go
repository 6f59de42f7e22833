package advice

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed data/*.advice
var data embed.FS

// suffix of the files that count; editors leave others beside them.
const suffix = ".advice"

// Load reads the site's files, those of dir that end in .advice, and then the built-in ones. Within each kind files count
// in the order of their names. An empty dir, or one that isn't there, has none. An entry of the site's whose name is that
// of a built-in one takes its place.
func Load(dir string) (*Book, error) {
	var book Book
	var problems []error
	names, err := siteFiles(dir)
	if err != nil {
		return nil, err
	}
	replaced := map[string]bool{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			problems = append(problems, fmt.Errorf("read advice: %w", err))
			continue
		}
		f, err := parse(name, text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, e := range f.entries {
			replaced[e.name] = true
		}
		book.files = append(book.files, f)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	own, err := builtin()
	if err != nil {
		return nil, err
	}
	for _, f := range own {
		f.entries = slices.DeleteFunc(f.entries, func(e *entry) bool { return replaced[e.name] })
		book.files = append(book.files, f)
	}
	return &book, nil
}

func siteFiles(dir string) (names []string, err error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read advice: %w", err)
	}
	for _, one := range entries {
		if !one.IsDir() && strings.HasSuffix(one.Name(), suffix) && !strings.HasPrefix(one.Name(), ".") {
			names = append(names, filepath.Join(dir, one.Name()))
		}
	}
	return names, nil
}

// builtin reads the files in the binary; tests see to it that this doesn't fail.
func builtin() (files []*file, err error) {
	entries, err := data.ReadDir("data")
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, one := range entries {
		text, err := data.ReadFile("data/" + one.Name())
		if err != nil {
			return nil, err
		}
		f, err := parse("built-in "+one.Name(), text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		files = append(files, f)
	}
	return files, errors.Join(problems...)
}
