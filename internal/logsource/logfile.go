package logsource

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// logFile is one generation of the log, open for reading.
type logFile struct {
	name  string
	file  *os.File
	info  fs.FileInfo
	in    io.Reader
	head  []byte // of the content, up to headSize
	lines *lineReader
}

func openLog(name string) (*logFile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f := &logFile{name: name, file: file, info: info, in: file}
	if strings.HasSuffix(name, ".gz") {
		if f.in, err = gzip.NewReader(bufio.NewReader(file)); err != nil {
			return nil, errors.Join(fmt.Errorf("decompress %s: %w", name, err), file.Close())
		}
	}
	return f, nil
}

func (f *logFile) close() { f.file.Close() }

// seek makes ready to read from the offset on, having checked that the content begins as the position says. It doesn't
// when the content is shorter than the offset or begins otherwise: then it is another file's.
func (f *logFile) seek(p position) (ok bool, err error) {
	f.head = make([]byte, p.Head)
	if _, err := io.ReadFull(f.in, f.head); err != nil {
		return false, ignoreEOF(err)
	}
	if hashOf(f.head) != p.Hash && p.Head > 0 {
		return false, nil
	}
	skip := p.Offset - int64(p.Head)
	if f.in == io.Reader(f.file) {
		if info, err := f.file.Stat(); err != nil || info.Size() < p.Offset {
			return false, err
		}
		_, err = f.file.Seek(skip, io.SeekCurrent)
	} else {
		_, err = io.CopyN(io.Discard, f.in, skip)
	}
	if err != nil {
		return false, ignoreEOF(err)
	}
	f.lines = newLineReader(f.in, p.Offset)
	return true, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// next returns the next lines; it also notes the beginning of the content as it comes by.
func (f *logFile) next() ([][]byte, error) {
	missing := headSize - len(f.head)
	if missing <= 0 || f.lines.offset+f.lines.read > int64(len(f.head)) {
		return f.lines.next()
	}
	in := f.lines.in
	f.lines.in = io.TeeReader(in, &headWriter{f})
	lines, err := f.lines.next()
	f.lines.in = in
	return lines, err
}

// headWriter collects the beginning of a file's content.
type headWriter struct{ file *logFile }

func (w *headWriter) Write(b []byte) (int, error) {
	w.file.head = append(w.file.head, b[:min(len(b), headSize-len(w.file.head))]...)
	return len(b), nil
}

// position is behind the last line that was returned.
func (f *logFile) position() position {
	head := f.head[:min(int64(len(f.head)), f.lines.offset)]
	p := position{Offset: f.lines.offset, Head: len(head), Hash: hashOf(head)}
	p.Device, p.Inode = identity(f.info)
	return p
}

// behind is the number of bytes that aren't read yet.
func (f *logFile) behind() int64 {
	info, err := f.file.Stat()
	if err != nil {
		return 0
	}
	return max(0, info.Size()-f.lines.offset-f.lines.read)
}

// truncated tells whether the file lost what was read of it.
func (f *logFile) truncated() bool {
	info, err := f.file.Stat()
	if err != nil {
		return false
	}
	if info.Size() < f.lines.offset+f.lines.read {
		return true
	}
	head := make([]byte, min(int64(len(f.head)), f.lines.offset))
	if _, err := f.file.ReadAt(head, 0); err != nil {
		return errors.Is(err, io.EOF)
	}
	return string(head) != string(f.head[:len(head)])
}

// generations lists the files that rotation may have made of the log (mail.log.1, mail.log-20261122, either of them
// .gz), the oldest first.
func generations(path string) []string {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	type generation struct {
		name string
		info fs.FileInfo
	}
	var found []generation
	for _, entry := range entries {
		suffix, ok := strings.CutPrefix(entry.Name(), base)
		if !ok || !rotated(suffix) || !entry.Type().IsRegular() {
			continue
		}
		if info, err := entry.Info(); err == nil {
			found = append(found, generation{dir + entry.Name(), info})
		}
	}
	slices.SortStableFunc(found, func(a, b generation) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	names := make([]string, len(found))
	for i, g := range found {
		names[i] = g.name
	}
	return slices.DeleteFunc(names, func(name string) bool { // being compressed right now
		plain, gz := strings.CutSuffix(name, ".gz")
		return gz && slices.Contains(names, plain)
	})
}

// rotated tells whether a file is named like one that logrotate (.1, -20261123, -2026112312, .2026-11-23) or postlogd
// (.20261123-114500) puts aside.
func rotated(suffix string) bool {
	suffix = strings.TrimSuffix(suffix, ".gz")
	return len(suffix) > 1 && (suffix[0] == '.' || suffix[0] == '-') && strings.Trim(suffix, "0123456789.-_T") == ""
}
