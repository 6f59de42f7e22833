package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// fixedSource has one certificate, or none and says why.
type fixedSource struct {
	until time.Time
	err   error
}

func (s fixedSource) Credentials() (*tls.Certificate, *x509.CertPool, error) {
	return &tls.Certificate{Leaf: &x509.Certificate{NotAfter: s.until}}, nil, s.err
}

func TestCertificateCheck(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct {
		name   string
		left   time.Duration
		consul bool
		err    error
		want   fleet.Check
	}{
		{"a fresh one", 365 * day, false, nil, fleet.Check{OK: true, Text: "good until 2027-11-23T12:00:00Z"}},
		{"two weeks", 14 * day, false, nil, fleet.Check{OK: true, Text: "good until 2026-12-07T12:00:00Z"}},
		{"less", 14*day - time.Second, false, nil, fleet.Check{Text: "expires at 2026-12-07T11:59:59Z and was not renewed"}},
		{"none left", 0, false, nil, fleet.Check{Text: "expired at 2026-11-23T12:00:00Z: the aggregator can't ask this node"}},
		{"Consul's", 10 * time.Hour, true, nil, fleet.Check{OK: true, Text: "good until 2026-11-23T22:00:00Z"}},
		{"Consul's, late", 5 * time.Hour, true, nil, fleet.Check{Text: "expires at 2026-11-23T17:00:00Z and was not renewed"}},
		{"not there yet", 0, true, errors.New("not asked yet"), fleet.Check{Text: "not asked yet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Name = checkCert
			got := certificateCheck(fixedSource{now.Add(c.left), c.err}, c.consul, now)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// docs/monitoring.md has the checks that a node reports, in their order.
func TestChecksAreDocumented(t *testing.T) {
	s := newSite(t)
	n := start(t, s.config(t, greet(t)))
	var reported []string
	for _, check := range n.Info(t.Context()).Checks {
		reported = append(reported, check.Name)
	}
	text, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n### A node's checks\n")
	if !found {
		t.Fatal("no such chapter")
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var documented []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(rest, -1) {
		documented = append(documented, match[1])
	}
	if diff := cmp.Diff(reported, documented); diff != "" {
		t.Errorf("(-reported +documented):\n%s", diff)
	}
}
