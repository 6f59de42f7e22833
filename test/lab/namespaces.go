package lab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaces are those of one process (namespaces(7)), held by file descriptors: they last until close, even when the
// process ends.
type namespaces struct{ files []*os.File }

func openNamespaces(pid int, kinds ...string) (*namespaces, error) {
	n := &namespaces{}
	for _, kind := range kinds {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			n.close()
			return nil, fmt.Errorf("open namespaces of process %d: %w", pid, err)
		}
		n.files = append(n.files, file)
	}
	return n, nil
}

func (n *namespaces) close() {
	for _, file := range n.files {
		file.Close()
	}
	n.files = nil
}

// do calls f on a thread that is in the namespaces: sockets and child processes made by f belong there. The thread is not
// used for anything else afterwards: it ends with its goroutine, which stays locked to it (runtime.LockOSThread).
func (n *namespaces) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The first thread can't end: it would stay in the namespaces. While it waits here another one is taken.
			done <- n.do(f)
			runtime.UnlockOSThread()
			return
		}
		done <- func() error {
			// A mount namespace can't be entered while root and working directory are shared with other threads (setns(2)).
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			for _, file := range n.files {
				if err := unix.Setns(int(file.Fd()), 0); err != nil {
					return fmt.Errorf("enter namespace %s: %w", file.Name(), err)
				}
			}
			return f()
		}()
	}()
	return <-done
}
