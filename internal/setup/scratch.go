package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// files are those of a configuration that are changed; others are copied where postconf wants them.
var files = []string{"main.cf", "master.cf"}

// scratch is a copy of a configuration that postconf may edit.
type scratch struct {
	dir  string
	from string
}

func newScratch(from string) (*scratch, error) {
	dir, err := os.MkdirTemp("", "postfleet-setup-")
	if err != nil {
		return nil, err
	}
	s := &scratch{dir: dir, from: from}
	for _, name := range append([]string{"dynamicmaps.cf"}, files...) {
		text, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) && name == "dynamicmaps.cf" {
			continue // Debian's, for maps that are packages of their own
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("copy %s: %w", filepath.Join(from, name), err), s.close())
		}
	}
	return s, nil
}

func (s *scratch) close() error { return os.RemoveAll(s.dir) }

// postconf runs postconf(1) on the copy. Its warnings (unused parameters, for one) are not ours to tell.
func (s *scratch) postconf(ctx context.Context, args ...string) (string, error) {
	if err := s.settle(); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "postconf", append([]string{"-c", s.dir}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("postconf %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problems.String()))
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// settle makes the files look older than they are: Postfix waits until a file that changed within the last second can't be
// half written (dict_load_file_xt in its dict.c), which would cost a second a step.
func (s *scratch) settle() error {
	for _, name := range files {
		if err := os.Chtimes(filepath.Join(s.dir, name), time.Time{}, time.Now().Add(-time.Minute)); err != nil {
			return err
		}
	}
	return nil
}

// value is a parameter as it is written, or its default.
func (s *scratch) value(ctx context.Context, name string) (string, error) {
	return s.postconf(ctx, "-h", name)
}

// expanded is a parameter with the $names in it filled in.
func (s *scratch) expanded(ctx context.Context, name string) (string, error) {
	return s.postconf(ctx, "-x", "-h", name)
}

// set writes a parameter; an empty value takes it out, so that its default holds again.
func (s *scratch) set(ctx context.Context, name, value string) error {
	args := []string{"-e", name + "=" + value}
	if value == "" {
		args = []string{"-X", name}
	}
	_, err := s.postconf(ctx, args...)
	return err
}

// override is one -o of a service of master.cf.
type override struct {
	service string // NAME/TYPE
	name    string
	value   string
}

// overrides are all -o of master.cf, by postconf -P: "submission/inet/smtpd_milters = inet:127.0.0.1:8891".
func (s *scratch) overrides(ctx context.Context) (list []override, err error) {
	text, err := s.postconf(ctx, "-P")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " =")
		at := strings.LastIndexByte(key, '/')
		if at > 0 {
			list = append(list, override{key[:at], key[at+1:], strings.TrimSpace(value)})
		}
	}
	return list, nil
}

func (s *scratch) override(ctx context.Context, o override) error {
	key := o.service + "/" + o.name
	args := []string{"-P", key + "=" + o.value}
	if o.value == "" {
		args = []string{"-PX", key}
	}
	_, err := s.postconf(ctx, args...)
	return err
}

// service is a line of master.cf.
type service struct {
	key     string // NAME/TYPE
	command string
}

// services are the lines of master.cf, by postconf -Mf, whose fields are separated by blanks (master(5)).
func (s *scratch) services(ctx context.Context) (list []service, err error) {
	text, err := s.postconf(ctx, "-M")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) >= 8 {
			list = append(list, service{fields[0] + "/" + fields[1], fields[7]})
		}
	}
	return list, nil
}
