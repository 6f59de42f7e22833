package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Apply makes the change: it keeps the old files in backup, replaces them, and asks Postfix (postfix check) whether it
// takes the result; where it doesn't, the old files come back and the error says why. A running Postfix is told to read
// them (postfix reload), which interrupts no session.
func (p *Plan) Apply(ctx context.Context, backup string) error {
	if len(p.Files) == 0 {
		return nil
	}
	for _, file := range p.Files {
		now, err := os.ReadFile(file.Path)
		if err == nil && !bytes.Equal(now, file.Before) {
			err = errors.New("changed since the plan was made")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file.Path, err)
		}
		if err := keep(file, backup); err != nil {
			return err
		}
	}
	for i, file := range p.Files {
		if err := replace(file.Path, file.After); err != nil {
			return errors.Join(err, p.restore(i))
		}
	}
	if out, err := p.postfix(ctx, "check"); err != nil {
		return errors.Join(fmt.Errorf("postfix check refuses the change, which was taken back: %w: %s", err, out), p.restore(len(p.Files)))
	}
	if _, err := p.postfix(ctx, "status"); err != nil {
		return nil //nolint:nilerr // Postfix doesn't run
	}
	if out, err := p.postfix(ctx, "reload"); err != nil {
		return fmt.Errorf("postfix reload: %w: %s", err, out)
	}
	return nil
}

// keep puts the old file into the backup directory, under its name and .before; the last one only.
func keep(file File, backup string) error {
	if err := os.MkdirAll(backup, 0o700); err != nil {
		return fmt.Errorf("directory for the old files: %w", err)
	}
	if err := os.WriteFile(filepath.Join(backup, filepath.Base(file.Path)+".before"), file.Before, 0o600); err != nil {
		return fmt.Errorf("keep the old file: %w", err)
	}
	return nil
}

// restore brings back the first n files.
func (p *Plan) restore(n int) (err error) {
	for _, file := range p.Files[:n] {
		err = errors.Join(err, replace(file.Path, file.Before))
	}
	return err
}

// replace writes a file whole or not at all, with the mode and the owner of the one before. A symbolic link stays one.
func replace(path string, text []byte) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // nothing is left of it when it took its place
	_, err = next.Write(text)
	if err == nil {
		err = next.Chmod(info.Mode().Perm())
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
		err = next.Chown(int(owner.Uid), int(owner.Gid))
	}
	err = errors.Join(err, next.Sync(), next.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(next.Name(), target)
}

func (p *Plan) postfix(ctx context.Context, command string) (string, error) {
	out, err := exec.CommandContext(ctx, "postfix", "-c", p.Dir, command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
