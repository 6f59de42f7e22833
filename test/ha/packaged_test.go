package ha

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// packaged reads a file of packaging.
func packaged(name string) (string, error) {
	content, err := os.ReadFile(filepath.Join("../../packaging", name))
	return string(content), err
}

// replace puts new lines in place of lines that must be there once.
func replace(text string, lines map[string]string) (string, error) {
	for old, line := range lines {
		if strings.Count(text, old+"\n") != 1 {
			return "", fmt.Errorf("%q stands %d times in the template", old, strings.Count(text, old+"\n"))
		}
		text = strings.Replace(text, old+"\n", line+"\n", 1)
	}
	return text, nil
}
