package pki

import (
	"errors"
	"os"
	"path/filepath"
)

// writePair writes BASE.key and BASE.pem, which must not be there yet. The key comes first: a certificate whose key is
// missing would look issued.
func writePair(dir, base string, pair Pair) error {
	key := filepath.Join(dir, base+".key")
	if err := create(key, pair.Key); err != nil {
		return err
	}
	if err := create(filepath.Join(dir, base+".pem"), pair.Cert); err != nil {
		return errors.Join(err, os.Remove(key))
	}
	return nil
}

// replacePair replaces BASE.key and BASE.pem. Between the two renames they don't fit together; [Files] waits that out.
func replacePair(dir, base string, pair Pair) error {
	if err := replace(filepath.Join(dir, base+".key"), pair.Key); err != nil {
		return err
	}
	return replace(filepath.Join(dir, base+".pem"), pair.Cert)
}

// create writes a file that must not be there yet.
func create(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return fill(file, content)
}

// replace writes a file beside path and renames it there, so that a reader sees the old content or the new. Owner and
// mode of a file that is replaced are kept, so that a daemon that could read it still can.
func replace(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails after the rename, as it should
	if err := keepOwner(file, path); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := fill(file, content); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func fill(file *os.File, content []byte) error {
	_, err := file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
