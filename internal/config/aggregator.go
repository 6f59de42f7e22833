package config

import "time"

// Aggregator is aggregator.yaml, the configuration of the fleet's web page and JSON API.
type Aggregator struct {
	HTTP    HTTP        `yaml:"http"`
	Members Members     `yaml:"members"`
	Client  Client      `yaml:"client"`
	Cache   Cache       `yaml:"cache"`
	Access  Access      `yaml:"access"`
	Advice  Advice      `yaml:"advice"`
	Status  LocalStatus `yaml:"status"`
	Consul  Consul      `yaml:"consul"`
	DNS     DNS         `yaml:"dns"`
	Log     Log         `yaml:"log"`
}

// HTTP is the listener of the pages and the JSON API.
type HTTP struct {
	Listen         HostPort  `yaml:"listen"`
	CertFile       Path      `yaml:"cert_file"`
	KeyFile        Path      `yaml:"key_file"`
	AllowPlain     bool      `yaml:"allow_plain"`
	PublicURL      string    `yaml:"public_url"`
	TrustedProxies []Network `yaml:"trusted_proxies"`
	DrainTimeout   Duration  `yaml:"drain_timeout"`
}

// Members says which nodes there are.
type Members struct {
	Source string         `yaml:"source" oneof:"auto static consul"`
	Static []StaticMember `yaml:"static" reload:"live"`
	// StateDir keeps what Consul said for a start without it; empty: $STATE_DIRECTORY, which systemd sets.
	StateDir Path `yaml:"state_dir"`
}

// StaticMember is a node that is named in the file.
type StaticMember struct {
	Name    string   `yaml:"name"`
	Address HostPort `yaml:"address"` // of its node API
}

// Client is how the aggregator asks the nodes.
type Client struct {
	Certificates string   `yaml:"certificates" oneof:"auto files consul"`
	CertFile     Path     `yaml:"cert_file"` // {host} is the host name up to its first dot
	KeyFile      Path     `yaml:"key_file"`
	CAFile       Path     `yaml:"ca_file"`
	Timeout      Duration `yaml:"timeout" min:"100ms" max:"2m"`
}

// Cache is what the aggregator remembers of nodes, for a time without them.
type Cache struct {
	Enabled     bool     `yaml:"enabled"`
	Dir         Path     `yaml:"dir"`      // empty: aggregator-cache in the state directory
	Messages    int      `yaml:"messages"` // of each node that are fetched without anybody looking
	MaxSize     Size     `yaml:"max_size"`
	MaxNodeSize Size     `yaml:"max_node_size"`
	Keep        Duration `yaml:"keep" min:"1h" max:"90d"`
}

// Access says who may sign in, and how long that lasts.
type Access struct {
	UsersFile       Path     `yaml:"users_file"`
	TokensFile      Path     `yaml:"tokens_file"`
	AuditFile       Path     `yaml:"audit_file"`
	SessionIdle     Duration `yaml:"session_idle" min:"1m"`
	SessionLifetime Duration `yaml:"session_lifetime" min:"1m"`
}

// Advice is what the site knows about the replies of other servers, besides what comes with postfleet.
type Advice struct {
	Dir Path `yaml:"dir"` // empty: none
}

// LocalStatus is the listener of the aggregator's /healthz and /metrics, for this host alone.
type LocalStatus struct {
	Listen HostPort `yaml:"listen"` // empty: none
}

// DefaultAggregator is what holds where aggregator.yaml says nothing.
func DefaultAggregator() Aggregator {
	return Aggregator{
		HTTP:    HTTP{Listen: "127.0.0.1:8527", DrainTimeout: Duration(10 * time.Second)},
		Members: Members{Source: "auto"},
		Client: Client{
			Certificates: "auto",
			CertFile:     "/etc/postfleet/tls/aggregator-{host}.pem",
			KeyFile:      "/etc/postfleet/tls/aggregator-{host}.key",
			CAFile:       "/etc/postfleet/tls/ca.pem",
			Timeout:      Duration(3 * time.Second),
		},
		Cache: Cache{Enabled: true, Messages: 5000, MaxSize: 512 << 20, MaxNodeSize: 64 << 20, Keep: Duration(7 * 24 * time.Hour)},
		Access: Access{
			UsersFile:       "/etc/postfleet/users",
			TokensFile:      "/etc/postfleet/tokens",
			AuditFile:       "/var/log/postfleet/audit.log",
			SessionIdle:     Duration(4 * time.Hour),
			SessionLifetime: Duration(24 * time.Hour),
		},
		Advice: Advice{Dir: "/etc/postfleet/advice.d"},
		Status: LocalStatus{Listen: "127.0.0.1:8528"},
		Consul: defaultConsul(),
		DNS:    defaultDNS(),
		Log:    defaultLog(),
	}
}

// LoadAggregator reads aggregator.yaml. A file that can't be used gives [Problems].
func LoadAggregator(path string) (*Aggregator, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	return ParseAggregator(path, text)
}

// ParseAggregator reads the text of an aggregator.yaml; file is its name in problems.
func ParseAggregator(file string, text []byte) (*Aggregator, error) {
	c := DefaultAggregator()
	if err := decode(file, text, &c); err != nil {
		return nil, err
	}
	return &c, nil
}

// LoadAccess reads the access section of an aggregator.yaml whose other sections need not fit together yet: accounts are
// made before the nodes are listed, and taken away whatever else is wrong. A key that nobody knows is told all the same,
// since it may be a misspelt one of this section.
func LoadAccess(path string) (*Access, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	c, d := DefaultAggregator(), newDecoder(path)
	d.read(text, &c)
	return &c.Access, d.problems.sorted()
}

// Validate holds a configuration that was made in code against the rules that a file has to keep.
func (c *Aggregator) Validate() error { return validate(c) }

// FromConsul tells whether the members come from Consul.
func (c *Aggregator) FromConsul() bool {
	return c.Members.Source == "consul" || c.Members.Source == "auto" && c.Consul.Enabled && len(c.Members.Static) == 0
}
