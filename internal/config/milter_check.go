package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

func (c *Milter) check(d *decoder) {
	if c.Node.Name != "" && !isNodeName(c.Node.Name) {
		d.wrong("node.name", "expected small letters, digits and hyphens, not %q: the name becomes a DKIM selector and a DNS label",
			c.Node.Name)
	}
	c.Milter.check(d)
	c.DKIM.check(d)
	c.DNS.check(d)
	c.Repository.check(d)
	c.API.check(d, c.Consul.Enabled)
	c.Status.check(d)
	c.Consul.check(d)
	c.Relay.check(d)
	c.Diagnose.check(d)
	if c.Postfix.Log.Source == "file" && c.Postfix.Log.File == "" {
		d.wrong("postfix.log.file", "expected the path of the log, since postfix.log.source is file")
	}
	for i, tag := range c.Consul.MailTags {
		if !isNodeName(tag) {
			d.wrong(fmt.Sprintf("consul.mail_tags[%d]", i), "expected small letters, digits and hyphens, not %q: a tag becomes a DNS label", tag)
		}
	}
	if c.Consul.Enabled && c.Status.Listen == "" {
		d.wrong("status.listen", "expected an address: Consul's agent asks it whether the node is healthy")
	}
}

func (f *Filter) check(d *decoder) {
	if len(f.Listen) == 0 {
		d.wrong("milter.listen", "expected at least one socket")
	}
	seen := map[Endpoint]bool{}
	for i, listen := range f.Listen {
		key := fmt.Sprintf("milter.listen[%d]", i)
		switch {
		case listen.Address == Endpoint{}:
			d.wrong(key+".address", "expected unix:/path/of/socket or host:port")
		case seen[listen.Address]:
			d.wrong(key+".address", "%s is listed twice", listen.Address)
		case !listen.Address.Loopback() && !listen.AllowRemote:
			d.wrong(key+".address", "expected a unix socket or a loopback address, not %q: whoever reaches the milter can have "+
				"mail signed; set allow_remote: true where that is meant", listen.Address)
		}
		seen[listen.Address] = true
	}
}

var templateName = regexp.MustCompile(`\{[^{}]*\}`)

func (k *DKIM) check(d *decoder) {
	plain := templateName.ReplaceAllStringFunc(k.Selector, func(name string) string {
		if name == "{node}" || name == "{date}" {
			return "x"
		}
		return name
	})
	if !isDomain(plain) {
		d.wrong("dkim.selector", "expected a DNS name in which {node} and {date} may stand, not %q", k.Selector)
	}
	if k.KeysDir == "" {
		d.wrong("dkim.keys_dir", "expected the directory of the keys")
	}
	for i, domain := range k.Domains {
		if domain != "*" && !isDomain(strings.TrimPrefix(domain, ".")) {
			d.wrong(fmt.Sprintf("dkim.domains[%d]", i), `expected example.com, .example.com for its sub-domains, or "*", not %q`, domain)
		}
	}
	for i, domain := range k.Exclude {
		if !isDomain(strings.TrimPrefix(domain, ".")) {
			d.wrong(fmt.Sprintf("dkim.exclude[%d]", i), "expected example.com or .example.com for its sub-domains, not %q", domain)
		}
	}
	if k.FallbackDomain != "" && !isDomain(k.FallbackDomain) {
		d.wrong("dkim.fallback_domain", "expected a domain, not %q", k.FallbackDomain)
	}
	// RFC 6376 section 3.5: the domain of i= is that of d=, or below it.
	if k.Identity != "" && (!strings.Contains(k.Identity, "@") || strings.ContainsAny(k.Identity, "; \t\r\n") ||
		!strings.HasSuffix(k.Identity, "@{domain}") && !strings.HasSuffix(k.Identity, ".{domain}")) {
		d.wrong("dkim.identity", "expected an address such as @{domain} or @mail.{domain}, not %q", k.Identity)
	}
	k.Rotation.check(d)
	k.checkHeaders(d)
}

// RFC 6376 section 5.4: From must be signed. Section 3.5: the signature itself is left out of h=.
func (k *DKIM) checkHeaders(d *decoder) {
	from := func(name string) bool { return strings.EqualFold(name, "From") }
	if !slices.ContainsFunc(k.Headers, from) {
		d.wrong("dkim.headers", "expected From among them (RFC 6376 section 5.4)")
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"dkim.headers", k.Headers}, {"dkim.oversign", k.Oversign}} {
		for i, name := range list.names {
			key := fmt.Sprintf("%s[%d]", list.key, i)
			switch {
			case !isHeaderName(name):
				d.wrong(key, "expected the name of a header, not %q", name)
			case strings.EqualFold(name, "DKIM-Signature"):
				d.wrong(key, "DKIM-Signature can't be signed by itself (RFC 6376 section 3.5)")
			}
		}
	}
}

// isHeaderName: printable ASCII without a colon (RFC 5322 section 3.6.8).
func isHeaderName(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' || c == ';' {
			return false
		}
	}
	return name != ""
}

func (r *Repository) check(d *decoder) {
	if r.Dir == "" {
		d.wrong("repository.dir", "expected the directory of the repository")
	}
	if r.KeepTranscripts > r.KeepMessages {
		d.wrong("repository.keep_transcripts", "expected at most keep_messages (%s), not %s: a transcript goes with its message",
			r.KeepMessages, r.KeepTranscripts)
	}
}

func (a *API) check(d *decoder, consul bool) {
	if a.Listen == "" && a.Certificates != "off" {
		d.wrong("api.listen", "expected an address, or api.certificates: off for no node API")
	}
	switch a.Certificates {
	case "files":
		for _, file := range []struct {
			key  string
			path Path
		}{{"api.cert_file", a.CertFile}, {"api.key_file", a.KeyFile}, {"api.ca_file", a.CAFile}} {
			if file.path == "" {
				d.wrong(file.key, "expected a path, since api.certificates is files")
			}
		}
	case "consul":
		if !consul {
			d.wrong("api.certificates", "expected consul.enabled: true with it")
		}
	}
}
