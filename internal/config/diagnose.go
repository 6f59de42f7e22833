package config

import (
	"fmt"
	"strings"
	"time"
)

// Diagnose says what the node's outbound diagnostics look at, and when.
type Diagnose struct {
	Every            Duration `yaml:"every"`   // 0: only when somebody asks
	Domains          []string `yaml:"domains"` // that send, besides those with a key
	Targets          []string `yaml:"targets"` // mail servers to try; empty: where mail went lately
	Blocklists       []string `yaml:"blocklists"`
	DomainBlocklists []string `yaml:"domain_blocklists"`
	QueueAge         Duration `yaml:"queue_age" min:"1m"`
	QueueSize        int      `yaml:"queue_size" min:"1" max:"10000000"`
	CertificateLeft  Duration `yaml:"certificate_left" min:"1h"`
	Clock            Duration `yaml:"clock" min:"100ms"`
	Keep             int      `yaml:"keep" min:"1" max:"10000"` // diagnoses
	TestSender       string   `yaml:"test_sender"`              // empty: postmaster of the first domain
}

func defaultDiagnose() Diagnose {
	const day = Duration(24 * time.Hour)
	return Diagnose{Every: day, Blocklists: []string{"zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com"},
		DomainBlocklists: []string{"dbl.spamhaus.org"}, QueueAge: day, QueueSize: 1000, CertificateLeft: 14 * day,
		Clock: Duration(2 * time.Second), Keep: 100}
}

func (c *Diagnose) check(d *decoder) {
	for _, list := range []struct {
		key   string
		names []string
	}{{"diagnose.domains", c.Domains}, {"diagnose.blocklists", c.Blocklists}, {"diagnose.domain_blocklists", c.DomainBlocklists}} {
		for i, name := range list.names {
			if !isDomain(strings.TrimSuffix(name, ".")) {
				d.wrong(fmt.Sprintf("%s[%d]", list.key, i), "expected a domain, not %q", name)
			}
		}
	}
	for i, target := range c.Targets {
		host, _, _ := strings.Cut(strings.Trim(target, "[]"), ":")
		if target == "" || strings.ContainsAny(target, "/ @") || host == "" && !strings.Contains(target, ":") {
			d.wrong(fmt.Sprintf("diagnose.targets[%d]", i), "expected a mail server, as host or host:port, not %q", target)
		}
	}
	if c.Every != 0 && c.Every < Duration(time.Minute) {
		d.wrong("diagnose.every", "expected 0, or at least 1m, not %s", c.Every)
	}
	if c.TestSender != "" && (strings.Count(c.TestSender, "@") != 1 || strings.ContainsAny(c.TestSender, " <>\r\n")) {
		d.wrong("diagnose.test_sender", "expected an address, not %q", c.TestSender)
	}
}
