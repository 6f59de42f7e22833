package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Lab owns a temporary directory and every process started in it.
type Lab struct {
	// Dir is readable by everybody, since Postfix's daemons don't run as root.
	Dir string

	leash *leash

	mu       sync.Mutex
	cleanups []cleanup
	logs     []string
}

// cleanup is one thing to undo, named for the error message.
type cleanup struct {
	name string
	do   func() error
}

// New makes a Lab. It needs root, since Postfix's master does.
func New() (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("open lab: root is needed to run Postfix")
	}
	dir, err := os.MkdirTemp("", "postfleet-lab-")
	if err != nil {
		return nil, fmt.Errorf("open lab: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("open lab: %w", err), os.RemoveAll(dir))
	}
	leash, err := newLeash(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open lab: %w", err), os.RemoveAll(dir))
	}
	return &Lab{Dir: dir, leash: leash}, nil
}

// Close undoes everything, last thing first, and removes the directory. A process that is left is an error. It may be called
// again.
func (l *Lab) Close() error {
	var errs []error
	for {
		l.mu.Lock()
		if len(l.cleanups) == 0 {
			l.mu.Unlock()
			break
		}
		last := l.cleanups[len(l.cleanups)-1]
		l.cleanups = l.cleanups[:len(l.cleanups)-1]
		l.mu.Unlock()
		if err := last.do(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", last.name, err))
		}
	}
	return errors.Join(append(errs, l.leash.release(), l.left())...)
}

// OnClose adds something to undo.
func (l *Lab) OnClose(name string, do func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cleanups = append(l.cleanups, cleanup{name, do})
}

// Path is a path below the lab's directory.
func (l *Lab) Path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

// Mkdir makes a directory below the lab's that everybody may enter.
func (l *Lab) Mkdir(parts ...string) (string, error) {
	dir := l.Path(parts...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// WriteFile writes a file below the lab's directory.
func (l *Lab) WriteFile(name string, content []byte, mode os.FileMode) (string, error) {
	path := l.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, content, mode)
}

// watchLog remembers a log file for DumpLogs.
func (l *Lab) watchLog(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logs = append(l.logs, path)
}

// DumpLogs writes the last few kilobytes of every process's log.
func (l *Lab) DumpLogs(w io.Writer, each int64) {
	l.mu.Lock()
	logs := append([]string(nil), l.logs...)
	l.mu.Unlock()
	for _, path := range logs {
		if tail, err := fileTail(path, each); err == nil && len(tail) > 0 {
			fmt.Fprintf(w, "--- %s\n%s\n", path, tail)
		}
	}
}

func fileTail(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(f)
}
