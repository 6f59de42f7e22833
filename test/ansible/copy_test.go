package ansible

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
)

// copyScript runs a program in a copy of this machine's file system, in which postfleet is installed and systemd takes every
// order and does nothing. What the program changes stays below upper.
const copyScript = `set -e
mkdir "$ROOT"/upper "$ROOT"/work "$ROOT"/root
mount -t overlay overlay -o lowerdir=/,upperdir="$ROOT"/upper,workdir="$ROOT"/work "$ROOT"/root
mount -t proc proc "$ROOT"/root/proc
mount --rbind /dev "$ROOT"/root/dev
rm -rf "$ROOT"/root/etc/postfleet
mkdir -p "$ROOT"/root/out "$ROOT"/root/etc/postfleet "$ROOT"/root/usr/local/sbin
cp "$BINARY" "$ROOT"/root/usr/bin/postfleet
cp packaging/sysusers/postfleet.conf "$ROOT"/root/usr/lib/sysusers.d/
cp packaging/tmpfiles/postfleet.conf "$ROOT"/root/usr/lib/tmpfiles.d/
chroot "$ROOT"/root systemd-sysusers postfleet.conf
chroot "$ROOT"/root systemd-tmpfiles --create postfleet.conf
printf '#!/bin/sh\nprintf "LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n"\n' >"$ROOT"/root/usr/local/sbin/systemctl
chmod 755 "$ROOT"/root/usr/local/sbin/systemctl
exec chroot "$ROOT"/root sh -c 'cd "$0" && PATH=/usr/local/sbin:$PATH exec "$@"' "$PWD" "$@"
`

// inCopy runs a playbook, whose path is below the project, in a copy of this machine, and gives the directory of what it changed.
func inCopy(t *testing.T, ctx context.Context, root string, play *exec.Cmd) string {
	t.Helper()
	project, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--propagation", "private", "sh", "-c", copyScript, "sh"}, play.Args...)...)
	cmd.Dir = project
	cmd.Env = append(play.Env, "ROOT="+root, "BINARY="+binary, "ANSIBLE_ROLES_PATH="+project+"/ansible/roles", "ANSIBLE_CONFIG="+project+"/ansible/ansible.cfg")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(root, "upper")
}
