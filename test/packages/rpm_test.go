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
cp "$ROOT"/root/usr/bin/postfleet "$ROOT"/binary
echo "== verify"
inside rpm -V --nodeps --nouser --nogroup --nomode postfleet
echo "# mine" >>"$ROOT"/root/etc/postfleet/milter.yaml
echo "== upgrade"
inside rpm -U --force --nodeps --nosignature /postfleet.rpm
tail -1 "$ROOT"/root/etc/postfleet/milter.yaml
echo "== wired"
printf 'compatibility_level = 3.6\nsmtpd_milters = inet:127.0.0.1:9\n' >"$ROOT"/root/etc/postfix/main.cf
inside postfleet setup --yes >/dev/null
inside postconf -h smtpd_milters
echo "== remove"
inside rpm -e --nodeps postfleet
echo "left: $(inside postconf -h smtpd_milters)"
inside sh -c 'ls /usr/bin/postfleet 2>/dev/null || echo gone; ls /etc/postfleet'
`
	out := command(t, []string{"ROOT=" + root, "FILE=" + file}, "unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	for _, want := range []string{"postfleet is installed; Postfix is as it was", ":/var/lib/postfleet:/usr/sbin/nologin", "root:postfleet 750",
		"postfleet:postfleet 750", "postfleet " + version, "postfix untouched", "# mine",
		"inet:127.0.0.1:9, unix:postfleet/milter.sock", "left: inet:127.0.0.1:9\n", "gone"} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	// Names of the RHEL family; its glibc is as old as 2.28 (RHEL 8), and the binary asks for no version.
	requires := command(t, nil, "rpm", "-qp", "--requires", "--nosignature", file)
	for _, name := range []string{"glibc", "systemd", "shadow-utils"} {
		if !strings.Contains("\n"+requires, "\n"+name+"\n") {
			t.Errorf("it does not require %s:\n%s", name, requires)
		}
	}
	symbols := command(t, nil, "readelf", "--version-info", "--wide", filepath.Join(root, "binary"))
	if strings.Contains(symbols, "GLIBC_") {
		t.Errorf("it asks for a version of glibc:\n%s", symbols)
	}
	if _, err := os.Stat(filepath.Join(root, "upper")); err != nil {
		t.Error(err)
	}
}
