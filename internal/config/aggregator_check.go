package config

import (
	"fmt"
	"net/url"
)

func (c *Aggregator) check(d *decoder) {
	c.HTTP.check(d)
	c.checkMembers(d)
	c.Client.check(d, c.Consul.Enabled)
	c.Cache.check(d)
	c.DNS.check(d)
	if c.Access.UsersFile == "" {
		d.wrong("access.users_file", "expected the path of the users file")
	}
	if c.Access.SessionIdle > c.Access.SessionLifetime {
		d.wrong("access.session_idle", "expected at most session_lifetime (%s), not %s", c.Access.SessionLifetime, c.Access.SessionIdle)
	}
	if c.Status.Listen != "" && !c.Status.Listen.Loopback() {
		d.wrong("status.listen", "expected a loopback address, not %q", c.Status.Listen)
	}
	c.Consul.check(d)
}

func (h *HTTP) check(d *decoder) {
	switch {
	case h.Listen == "":
		d.wrong("http.listen", "expected an address")
	case (h.CertFile == "") != (h.KeyFile == ""):
		d.wrong("http.cert_file", "expected cert_file and key_file together")
	case h.CertFile == "" && !h.Listen.Loopback() && !h.AllowPlain:
		d.wrong("http.listen", "expected cert_file and key_file with an address that other hosts reach (%q): passwords would cross the "+
			"network in the clear; set allow_plain: true where a proxy in front does TLS", h.Listen)
	}
	if h.PublicURL == "" {
		return
	}
	if u, err := url.Parse(h.PublicURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path != "" {
		d.wrong("http.public_url", "expected https://host or https://host:port, not %q", h.PublicURL)
	}
}

func (c *Aggregator) checkMembers(d *decoder) {
	switch {
	case c.Members.Source == "consul" && !c.Consul.Enabled:
		d.wrong("members.source", "expected consul.enabled: true with it")
	case c.Members.Source == "consul" && len(c.Members.Static) > 0:
		d.wrong("members.static", "expected none, since members.source is consul")
	case !c.FromConsul() && len(c.Members.Static) == 0:
		d.wrong("members.static", "expected at least one node, or consul.enabled: true")
	}
	seen := map[string]bool{}
	for i, member := range c.Members.Static {
		key := fmt.Sprintf("members.static[%d]", i)
		switch {
		case !isNodeName(member.Name):
			d.wrong(key+".name", "expected the node's name: small letters, digits and hyphens, not %q", member.Name)
		case seen[member.Name]:
			d.wrong(key+".name", "%s is listed twice", member.Name)
		}
		if member.Address == "" || member.Address[0] == ':' {
			d.wrong(key+".address", "expected host:port of the node API, not %q", member.Address)
		}
		seen[member.Name] = true
	}
}

// Bounds of the cache: below, it is good for nothing.
const (
	minCache         = 1 << 20
	maxCacheMessages = 1_000_000
)

func (c *Cache) check(d *decoder) {
	if c.Messages < 0 || c.Messages > maxCacheMessages {
		d.wrong("cache.messages", "expected 0 to %d, not %d", maxCacheMessages, c.Messages)
	}
	if c.MaxNodeSize < minCache {
		d.wrong("cache.max_node_size", "expected at least %s, not %s", Size(minCache), c.MaxNodeSize)
	}
	if c.MaxSize < c.MaxNodeSize {
		d.wrong("cache.max_size", "expected at least max_node_size (%s), not %s", c.MaxNodeSize, c.MaxSize)
	}
}

func (c *Client) check(d *decoder, consul bool) {
	if c.Certificates == "consul" && !consul {
		d.wrong("client.certificates", "expected consul.enabled: true with it")
	}
	if c.Certificates != "files" {
		return
	}
	for _, file := range []struct {
		key  string
		path Path
	}{{"client.cert_file", c.CertFile}, {"client.key_file", c.KeyFile}, {"client.ca_file", c.CAFile}} {
		if file.path == "" {
			d.wrong(file.key, "expected a path, since client.certificates is files")
		}
	}
}
