package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// glibc is what the packages' binary asks the host for, on amd64.
var glibc = []string{"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libdl.so.2", "/lib/x86_64-linux-gnu/libpthread.so.0"}

// bareRoots shows which binary needs what of its host: the static one nothing at all, the packages' one the C library and no
// libcrypto. Each makes keys and signs, by Go: check-config takes a key only after go-msgauth verified what it signed.
func bareRoots(t *testing.T, dist string) {
	static := filepath.Join(dist, "postfleet_"+version+"_amd64_static")
	if out := command(t, nil, "file", static); !strings.Contains(out, "statically linked") {
		t.Error(out)
	}
	unpacked := t.TempDir()
	command(t, nil, "dpkg-deb", "-x", deb(dist, "amd64"), unpacked)
	packaged := filepath.Join(unpacked, "usr/bin/postfleet")
	for _, c := range []struct {
		name, binary string
		libraries    []string
		runs         bool
	}{
		{"static, in an empty root", static, nil, true},
		{"of the package, in an empty root", packaged, nil, false},
		{"of the package, with the C library alone", packaged, glibc, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			place(t, c.binary, root+"/postfleet")
			for _, library := range c.libraries {
				place(t, library, root+library)
			}
			if err := os.WriteFile(root+"/milter.yaml", []byte("node: {name: mx1}\ndkim: {keys_dir: /keys, require_dns: never}\napi: {certificates: 'off'}\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			inside := func(args ...string) string {
				t.Helper()
				return command(t, nil, "chroot", append([]string{root, "/postfleet"}, args...)...)
			}
			if !c.runs {
				if out, err := run(t.Context(), nil, "chroot", root, "/postfleet", "version"); err == nil {
					t.Errorf("it runs: %s", out)
				}
				return
			}
			if out := inside("version"); !strings.Contains(out, "postfleet "+version) || !strings.Contains(out, "RSA by Go") {
				t.Error(out)
			}
			inside("dkim", "keygen", "--config", "/milter.yaml", "example.com")
			if out := inside("check-config", "/milter.yaml"); !strings.Contains(out, "example.com with selector mx1 (rsa-sha256)") {
				t.Error(out)
			}
		})
	}
	if out := command(t, nil, packaged, "version"); !strings.Contains(out, "RSA by libcrypto.so.3") {
		t.Errorf("on a host that has it: %s", out)
	}
}

// place copies a file with its mode.
func place(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
