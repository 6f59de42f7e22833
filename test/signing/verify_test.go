package signing

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	keys "github.com/postfleet/postfleet/internal/dkim"
)

// verifiers check messages, each with the records of the keys that may have signed. A message must carry want good
// signatures of ours.
type verifiers struct {
	records map[string]string // DNS name to text
	dir     string
	keyFile string // NAME TEXT, one a line: what OpenDKIM's TestPublicKeys reads
}

func newVerifiers(t *testing.T, signing []*keys.Key) *verifiers {
	t.Helper()
	v := &verifiers{records: map[string]string{}, dir: t.TempDir()}
	var lines strings.Builder
	for _, key := range signing {
		v.records[key.RecordName()] = key.Record()
		fmt.Fprintf(&lines, "%s %s\n", key.RecordName(), key.Record())
	}
	v.keyFile = v.write(t, "keys.txt", []byte(lines.String()))
	return v
}

func (v *verifiers) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(v.dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// check has all three implementations verify messages, by name: each must find RSA and Ed25519 good. OpenDKIM isn't asked
// about those that skip says.
func (v *verifiers) check(t *testing.T, messages map[string][]byte, skip func(name string) bool) {
	t.Helper()
	files := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(messages)) {
		files[name] = v.write(t, fmt.Sprintf("%03d.eml", i), messages[name])
	}
	v.goMsgauth(t, messages)
	v.dkimpy(t, files)
	maps.DeleteFunc(files, func(name, _ string) bool { return skip(name) })
	v.openDKIM(t, files)
}

func (v *verifiers) goMsgauth(t *testing.T, messages map[string][]byte) {
	for name, message := range messages {
		if !bytes.Contains(message, []byte("\r\n\r\n")) {
			message = append(slices.Clone(message), "\r\n"...) // go-msgauth wants the empty line that ends a header
		}
		verifications, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{
			LookupTXT: func(name string) ([]string, error) {
				if record, ok := v.records[name]; ok {
					return []string{record}, nil
				}
				return nil, fmt.Errorf("no record for %s", name)
			},
			MaxVerifications: 5,
		})
		if err != nil {
			t.Errorf("%s: go-msgauth: %v", name, err)
			continue
		}
		good := 0
		for _, verification := range verifications {
			if verification.Err == nil {
				good++
			}
		}
		if good != 2 {
			t.Errorf("%s: go-msgauth finds %d good signatures, want 2", name, good)
		}
	}
}

func (v *verifiers) dkimpy(t *testing.T, files map[string]string) {
	t.Helper()
	args := append([]string{"testdata/verify.py", v.keyFile}, slices.Sorted(maps.Values(files))...)
	out, err := exec.Command("/usr/bin/python3", args...).Output()
	if err != nil {
		t.Errorf("dkimpy: %v", err)
	}
	for name, file := range files {
		if good := strings.Count(string(out), file+" 0 True\n") + strings.Count(string(out), file+" 1 True\n"); good != 2 {
			t.Errorf("%s: dkimpy finds %d good signatures, want 2\n%s", name, good, linesWith(out, file))
		}
	}
}

func linesWith(out []byte, part string) string {
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, part) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// openDKIM runs OpenDKIM's filter in its test mode (opendkim(8), -t), which reports what it would write into
// Authentication-Results.
func (v *verifiers) openDKIM(t *testing.T, files map[string]string) {
	t.Helper()
	config := v.write(t, "opendkim.conf", []byte("Mode v\nTestPublicKeys "+v.keyFile+"\n"))
	for name, file := range files {
		out, err := exec.Command("opendkim", "-x", config, "-vvv", "-t", file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: opendkim: %v\n%s", name, err, out)
			continue
		}
		for _, algorithm := range []string{"rsa-sha256", "ed25519-sha256"} {
			good := false
			for line := range strings.Lines(string(out)) {
				good = good || strings.Contains(line, "dkim=pass") && strings.Contains(line, "header.a="+algorithm)
			}
			if !good {
				t.Errorf("%s: opendkim: no good %s signature\n%s", name, algorithm, linesWith(out, "dkim="))
			}
		}
	}
}
