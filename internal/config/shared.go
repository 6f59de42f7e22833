package config

import (
	"regexp"
	"strings"
	"time"
)

// Log says how the daemon writes its own log, which goes to standard error and so to the journal.
type Log struct {
	Level  string `yaml:"level" oneof:"debug info warn error" reload:"live"`
	Format string `yaml:"format" oneof:"json console"`
}

func defaultLog() Log { return Log{Level: "info", Format: "json"} }

// Status is the listener of the node's /healthz and /metrics.
type Status struct {
	Listen      HostPort `yaml:"listen"` // empty: none
	AllowRemote bool     `yaml:"allow_remote"`
}

// Consul says how to reach the agent. What is empty comes from the usual CONSUL_* environment.
type Consul struct {
	Enabled    bool     `yaml:"enabled"`
	Address    string   `yaml:"address"`
	Datacenter string   `yaml:"datacenter"`
	TokenFile  Path     `yaml:"token_file"`
	CAFile     Path     `yaml:"ca_file"`
	CertFile   Path     `yaml:"cert_file"`
	KeyFile    Path     `yaml:"key_file"`
	ServerName string   `yaml:"tls_server_name"`
	Wait       Duration `yaml:"wait" min:"1s" max:"10m"` // of a blocking query

	APIService        string `yaml:"api_service"`        // the node API's name
	AggregatorService string `yaml:"aggregator_service"` // whose Connect identity may call it
	MailService       string `yaml:"mail_service"`       // the mail service's name; empty: there is none
	KVPrefix          string `yaml:"kv_prefix"`          // of the keys in the KV store
}

func defaultConsul() Consul {
	return Consul{Wait: Duration(5 * time.Minute), APIService: "postfleet-node", AggregatorService: "postfleet-aggregator",
		MailService: "smtp-out", KVPrefix: "postfleet"}
}

// keyPrefix leaves out what would have to be escaped, and a slash at either end, which would give keys with two.
var keyPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$`)

const serviceName = "expected a service name of small letters, digits and hyphens"

func (c *Consul) check(d *decoder) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		d.wrong("consul.cert_file", "expected cert_file and key_file together")
	}
	for _, service := range []struct{ key, name string }{
		{"consul.api_service", c.APIService}, {"consul.aggregator_service", c.AggregatorService}} {
		if !isNodeName(service.name) {
			d.wrong(service.key, "%s, not %q", serviceName, service.name)
		}
	}
	if c.APIService == c.AggregatorService {
		d.wrong("consul.aggregator_service", "expected another name than api_service")
	}
	switch {
	case c.MailService == "":
	case !isNodeName(c.MailService):
		d.wrong("consul.mail_service", "%s, not %q", serviceName, c.MailService)
	case c.MailService == c.APIService || c.MailService == c.AggregatorService:
		d.wrong("consul.mail_service", "expected another name than api_service and aggregator_service")
	}
	if !keyPrefix.MatchString(c.KVPrefix) {
		d.wrong("consul.kv_prefix", "expected letters, digits, hyphens and underscores, with slashes between them, not %q", c.KVPrefix)
	}
	address := c.Address
	for _, scheme := range []string{"http://", "https://"} {
		address = strings.TrimPrefix(address, scheme)
	}
	if address == "" || strings.HasPrefix(address, "unix://") {
		return
	}
	if strings.Contains(address, "/") || new(HostPort).UnmarshalText([]byte(address)) != nil {
		d.wrong("consul.address", "expected host:port, http://host:port, https://host:port or unix:///path, not %q", c.Address)
	}
}

func (s *Status) check(d *decoder) {
	if s.Listen != "" && !s.Listen.Loopback() && !s.AllowRemote {
		d.wrong("status.listen", "expected a loopback address, not %q: whoever reaches it reads the metrics; "+
			"set status.allow_remote: true where that is meant", s.Listen)
	}
}

// wrong notes a problem with a key, or with the section that lacks it, unless that key's problem is known already.
func (d *decoder) wrong(key, format string, args ...any) {
	if d.noted[key] {
		return
	}
	line, known := 0, false
	for section := key; section != "" && !known; section = parent(section) {
		line, known = d.lines[section]
	}
	d.at(line, key, format, args...)
}

// parent cuts the last name or index off a path.
func parent(key string) string {
	return key[:max(strings.LastIndexByte(key, '.'), strings.LastIndexByte(key, '['), 0)]
}

// isNodeName tells whether a text can name a node: it stands in URLs, in Consul and in selectors.
func isNodeName(name string) bool {
	if len(name) == 0 || len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Expand puts a name in the place of {node} or {host} in a path.
func (p Path) Expand(name string) string {
	return strings.NewReplacer("{node}", name, "{host}", name).Replace(string(p))
}

// FirstLabel is the host name up to its first dot, in lower case.
func FirstLabel(hostname string) string {
	label, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	return label
}

// isDomain tells whether a text is a host or domain name in its ASCII form (RFC 1035 section 2.3.1, RFC 2181 section 11
// for the underscore).
func isDomain(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(strings.ToLower(label)) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
