package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// leaveWithin is how long what is under way may take to end once all is stopped.
const leaveWithin = 10 * time.Second

// left waits until no process is left that has to do with the lab, and names those that stay: with the last one of them
// namespaces end too, and with those their links and mounts.
func (l *Lab) left() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	return Until(ctx, func(context.Context) error {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		var left []error
		for _, entry := range entries {
			if pid, err := strconv.Atoi(entry.Name()); err != nil || pid == os.Getpid() || !l.knows(entry.Name()) {
				continue
			}
			name, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm")) // it may have ended
			left = append(left, fmt.Errorf("process %s is left: %s", entry.Name(), bytes.TrimSpace(name)))
		}
		return errors.Join(left...)
	})
}

// knows tells whether a process names the lab's directory in its arguments, is in it, or sees a mount of it.
func (l *Lab) knows(pid string) bool {
	arguments, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	mounts, _ := os.ReadFile(filepath.Join("/proc", pid, "mountinfo"))
	where, _ := os.Readlink(filepath.Join("/proc", pid, "cwd"))
	return bytes.Contains(arguments, []byte(l.Dir)) || bytes.Contains(mounts, []byte(l.Dir)) || strings.HasPrefix(where, l.Dir)
}
