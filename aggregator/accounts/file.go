package accounts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// fields is one account's line, cut at its colons.
type fields []string

// readLines cuts a file into its accounts. A file that isn't there has none.
func readLines(path string, each func(number int, line fields) error) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s: open to others (mode %04o): expected 0600", path, info.Mode().Perm())
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := each(number, strings.Split(text, ":")); err != nil {
			return fmt.Errorf("%s line %d: %w", path, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeLines puts a whole new file in the place of the old one. It is readable by its owner alone; where root writes it,
// by the daemon too: see handOver.
func writeLines(path, header string, lines []string) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name()) // gone already after the rename
	text := "# " + header + "\n" + strings.Join(lines, "\n")
	if len(lines) > 0 {
		text += "\n"
	}
	_, err = file.WriteString(text)
	err = errors.Join(err, file.Chmod(0o600), handOver(file, path), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// handOver lets the daemon read what root made. The file belongs to whom the old one belonged to, or the directory where
// there was none; and in a directory of root's, such as /etc/postfleet, the directory's group reads it.
func handOver(file *os.File, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	like, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		like, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	owner, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	if owner.Uid == 0 && owner.Gid != 0 {
		return file.Chmod(0o640)
	}
	return nil
}

// locked runs change while no other process changes the file at path.
func locked(path string, change func() error) error {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return change()
}

// watched is the content of a file that is read again when it changes. A changed file that is no good is told to
// OnError once, and the content from before stays.
type watched[T any] struct {
	path    string
	read    func(path string) (T, error)
	onError func(error)

	mu    sync.Mutex
	stamp string
	value T
}

func watch[T any](path string, read func(string) (T, error), onError func(error)) (*watched[T], error) {
	w := &watched[T]{path: path, read: read, onError: onError, stamp: stampOf(path)}
	var err error
	w.value, err = read(path)
	return w, err
}

func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp := stampOf(w.path)
	if stamp == w.stamp {
		return w.value
	}
	w.stamp = stamp
	value, err := w.read(w.path)
	if err != nil {
		w.onError(err)
		return w.value
	}
	w.value = value
	return value
}

// stampOf changes whenever the file does: our own writes replace the file, so its inode changes even within one tick of
// the file system's clock.
func stampOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	stamp := fmt.Sprintf("%d %d", info.ModTime().UnixNano(), info.Size())
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		stamp += fmt.Sprintf(" %d", sys.Ino)
	}
	return stamp
}
