package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// installRPM installs the package into a root of its own, whose scripts run there, and removes it again. The root is made of
// this machine's own /usr, read-only, since no distribution of the RHEL family is at hand.
func installRPM(t *testing.T, file string) {
	root := t.TempDir()
	script := `set -e
mkdir -p "$ROOT"/upper "$ROOT"/work "$ROOT"/root "$ROOT"/etc
mount -t overlay overlay -o lowerdir=/,upperdir="$ROOT"/upper,workdir="$ROOT"/work "$ROOT"/root
mount -t proc proc "$ROOT"/root/proc
cp "$FILE" "$ROOT"/root/postfleet.rpm
inside() { chroot "$ROOT"/root "$@"; }
inside rm -rf /run/systemd/system
before=$(inside sh -c 'cat /etc/postfix/*.cf 2>/dev/null | sha256sum')
echo "== install"
inside rpm -i --nodeps --nosignature /postfleet.rpm
inside getent passwd postfleet
inside stat -c '%U:%G %a' /etc/postfleet /etc/postfleet/keys /var/lib/postfleet
inside postfleet version
inside postfleet check-config /etc/postfleet/milter.yaml >/dev/null
[ "$before" = "$(inside sh -c 'cat /etc/postfix/*.cf 2>/dev/null | sha256sum')" ] && echo "postfix untouched"
echo "== verify"
inside rpm -V --nodeps --nouser --nogroup --nomode postfleet
echo "# mine" >>"$ROOT"/root/etc/postfleet/milter.yaml
echo "== upgrade"
inside rpm -U --force --nodeps --nosignature /postfleet.rpm
tail -1 "$ROOT"/root/etc/postfleet/milter.yaml
echo "== remove"
inside rpm -e --nodeps postfleet
inside sh -c 'ls /usr/bin/postfleet 2>/dev/null || echo gone; ls /etc/postfleet'
`
	out := command(t, []string{"ROOT=" + root, "FILE=" + file}, "unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	for _, want := range []string{"postfleet is installed; Postfix is as it was", ":/var/lib/postfleet:/usr/sbin/nologin", "root:postfleet 750",
		"postfleet:postfleet 750", "postfleet " + version, "postfix untouched", "# mine", "gone"} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "upper")); err != nil {
		t.Error(err)
	}
}
