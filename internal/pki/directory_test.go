package pki

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const year = 365 * 24 * time.Hour

func TestDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pki")
	_, err := Init(path, "example fleet", start, 10*year)
	must(t, err)
	if _, err := Init(path, "again", start, year); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second CA over the first: %v", err)
	}
	dir, err := Open(path)
	must(t, err)

	mx1 := Request{Identity: Identity{Node, "mx1"}, Addresses: []string{"mx1.example.com", "192.0.2.1"}, Valid: year}
	_, err = dir.Issue(mx1, start, "")
	must(t, err)
	if _, err := dir.Issue(mx1, start, t.TempDir()); err == nil || !strings.Contains(err.Error(), "renew it instead") {
		t.Errorf("a second certificate for mx1: %v", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	paths, err := dir.Issue(Request{Identity: Identity{Aggregator, "web"}, Valid: 100 * year}, start, out)
	must(t, err)
	want := Paths{Cert: filepath.Join(out, "aggregator-web.pem"), Key: filepath.Join(out, "aggregator-web.key"), CA: filepath.Join(out, "ca.pem")}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(path, "aggregator-web.key")); !os.IsNotExist(err) {
		t.Errorf("the key that was written elsewhere stayed: %v", err)
	}
	for _, key := range []string{paths.Key, filepath.Join(path, "ca.key"), filepath.Join(path, "node-mx1.key")} {
		info, err := os.Stat(key)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", key, info.Mode())
		}
	}
	type row struct {
		Role      Role
		Name, URI string
		Addresses []string
		NotAfter  time.Time
	}
	rows := func() (rows []row) {
		list, err := dir.List()
		must(t, err)
		for _, c := range list {
			rows = append(rows, row{c.Role, c.Name, c.URI, c.Addresses, c.NotAfter})
		}
		return rows
	}
	end := start.Add(10 * year) // of the CA, which no certificate outlives
	if diff := cmp.Diff([]row{
		{RoleCA, "example fleet", "", nil, end},
		{Aggregator, "web", "spiffe://postfleet/aggregator/web", nil, end},
		{Node, "mx1", "spiffe://postfleet/node/mx1", mx1.Addresses, start.Add(year)},
	}, rows()); diff != "" {
		t.Error(diff)
	}

	must(t, os.Chmod(filepath.Join(path, "node-mx1.key"), 0o640))
	_, err = dir.Renew(mx1.Identity, year, start.Add(year/2), "")
	must(t, err)
	if got := rows()[2]; !got.NotAfter.Equal(start.Add(year+year/2)) || len(got.Addresses) != 2 {
		t.Errorf("after the renewal: %+v", got)
	}
	info, err := os.Stat(filepath.Join(path, "node-mx1.key"))
	must(t, err)
	if info.Mode().Perm() != 0o640 {
		t.Errorf("the renewal changed the mode to %v", info.Mode())
	}
	if _, err := dir.Renew(Identity{Node, "mx9"}, year, start, ""); err == nil || !strings.Contains(err.Error(), "nothing to renew") {
		t.Errorf("renewed mx9: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(path, "*.new*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestIssueRefused(t *testing.T) {
	dir, err := Init(t.TempDir(), "test", start, time.Hour)
	must(t, err)
	if _, err := dir.Issue(Request{Identity: Identity{Node, "../x"}, Valid: time.Hour}, start, ""); err == nil {
		t.Error("a name with a path in it was taken")
	}
	_, err = dir.Issue(Request{Identity: Identity{Node, "mx1"}, Valid: time.Hour}, start.Add(2*time.Hour), "")
	if err == nil || !strings.Contains(err.Error(), "the CA expired") {
		t.Errorf("an expired CA issued: %v", err)
	}
}

func TestOpenRefused(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"nothing there", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, caCert))) }, "ca.pem: no such file"},
		{"key readable by all", func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, caKey), 0o604)) }, "mode 0604"},
		{"key of another", func(t *testing.T, dir string) {
			_, other, err := NewAuthority("other", start, year)
			must(t, err)
			must(t, replace(filepath.Join(dir, caKey), other.Key))
		}, "not that of the CA certificate"},
		{"key cut", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, caKey), 40)) }, "no PEM private key"},
		{"not a CA", func(t *testing.T, dir string) {
			d, err := Open(dir)
			must(t, err)
			pair, err := d.authority.Issue(Request{Identity: Identity{Node, "mx1"}, Valid: time.Hour}, start)
			must(t, err)
			must(t, replacePair(dir, "ca", pair))
		}, "not that of a CA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := t.TempDir()
			_, err := Init(path, "test", start, year)
			must(t, err)
			tc.spoil(t, path)
			if _, err := Open(path); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
