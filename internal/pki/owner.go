package pki

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a new file the owner, group and mode of the one at path that it will replace; nothing where none is.
func keepOwner(file *os.File, path string) error {
	old, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner := old.Sys().(*syscall.Stat_t)
	if int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid() {
		if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return file.Chmod(old.Mode().Perm())
}
