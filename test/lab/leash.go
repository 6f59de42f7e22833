package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// leash is a shell process that waits until its standard input ends, which it does even when this program is killed with
// SIGKILL. Then it ends every process that is still on the list and removes the lab's directory.
//
// The list is a directory with one file a process: its id and its start time. A process id is only trusted together with
// the start time (field 22 of /proc/PID/stat, proc(5)), for ids are used again.
type leash struct {
	dir   string
	shell *exec.Cmd
	stdin io.WriteCloser
}

const leashScript = `
trap '' INT TERM HUP
cd / || exit 1
cat >/dev/null
alive() { [ "$(cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null)" = "$2" ] && ! grep -q '^State:.Z' "/proc/$1/status"; }
all() {
	for entry in "$0"/leash/*; do
		[ -f "$entry" ] || continue
		read -r pid start <"$entry"
		if alive "$pid" "$start"; then kill "-$1" "$pid" 2>/dev/null; echo "$pid"; fi
	done
}
left=$(all TERM)
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	[ -n "$left" ] || break
	sleep 0.25
	left=$(all 0)
done
all KILL >/dev/null
[ -n "$LAB_KEEP" ] || rm -rf "$0"
`

func newLeash(dir string) (*leash, error) {
	if err := os.Mkdir(filepath.Join(dir, "leash"), 0o700); err != nil {
		return nil, err
	}
	shell := exec.Command("/bin/sh", "-c", leashScript, dir)
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := shell.Start(); err != nil {
		return nil, fmt.Errorf("start leash: %w", err)
	}
	return &leash{dir: dir, shell: shell, stdin: stdin}, nil
}

// hold puts a process on the list.
func (l *leash) hold(pid int) error {
	start, err := startTime(pid)
	if err != nil {
		return err
	}
	return os.WriteFile(l.entry(pid), fmt.Appendf(nil, "%d %s\n", pid, start), 0o600)
}

// drop takes a process that has ended off the list.
func (l *leash) drop(pid int) { os.Remove(l.entry(pid)) }

func (l *leash) entry(pid int) string { return filepath.Join(l.dir, "leash", strconv.Itoa(pid)) }

// release lets the leash do its work and waits for it.
func (l *leash) release() error {
	if l.stdin == nil {
		return nil
	}
	l.stdin.Close()
	l.stdin = nil
	return l.shell.Wait()
}

// startTime is when a process began, in clock ticks since boot.
func startTime(pid int) (string, error) {
	fields, err := procStat(pid)
	if err != nil {
		return "", err
	}
	return fields[19], nil
}

// procStat are the fields of /proc/PID/stat from the third, the state, on: the second may have spaces in it.
func procStat(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 22 {
		return nil, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	return fields, nil
}

// alive tells whether a process runs; a zombie doesn't.
func alive(pid int) bool {
	fields, err := procStat(pid)
	return err == nil && fields[0] != "Z" && fields[0] != "X"
}
