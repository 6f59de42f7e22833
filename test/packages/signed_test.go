package packages

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With a key both packages are signed, as their own tools see it.
func TestSigned(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "gnupg")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "secret.asc")
	env := []string{"GNUPGHOME=" + home}
	t.Cleanup(func() { _, _ = run(context.Background(), env, "gpgconf", "--kill", "gpg-agent") }) // it ends by itself when its directory goes
	command(t, env, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "test@example.com", "rsa2048")
	for flag, file := range map[string]string{"--export-secret-keys": key, "--export": filepath.Join(dir, "public.asc")} {
		if err := os.WriteFile(file, []byte(command(t, env, "gpg", "--armor", flag)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dist := filepath.Join(dir, "dist")
	command(t, []string{"DIST=" + dist, "ARCHITECTURES=amd64", "SIGNING_KEY=" + key}, "make", "packages", "VERSION="+version)
	if members := command(t, nil, "ar", "t", deb(dist, "amd64")); !strings.Contains(members, "_gpgorigin\n") {
		t.Errorf("the .deb isn't signed: %s", members)
	}
	database := filepath.Join(dir, "rpm")
	command(t, nil, "rpm", "--dbpath", database, "--import", filepath.Join(dir, "public.asc"))
	if out := command(t, nil, "rpm", "--dbpath", database, "--checksig", rpm(dist)); !strings.Contains(out, "digests signatures OK") {
		t.Errorf("the .rpm isn't signed: %s", out)
	}
}
