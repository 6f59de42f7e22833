package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Milter is milter.yaml, the configuration of the node daemon.
type Milter struct {
	Node       Node       `yaml:"node"`
	Milter     Filter     `yaml:"milter"`
	DKIM       DKIM       `yaml:"dkim" reload:"live"`
	DNS        DNS        `yaml:"dns" reload:"live"`
	Postfix    Postfix    `yaml:"postfix"`
	Repository Repository `yaml:"repository"`
	Privacy    Privacy    `yaml:"privacy"`
	API        API        `yaml:"api"`
	Status     Status     `yaml:"status"`
	Consul     NodeConsul `yaml:"consul"`
	Relay      Relay      `yaml:"relay"`
	Diagnose   Diagnose   `yaml:"diagnose" reload:"live"`
	Log        Log        `yaml:"log"`
}

// Node says who this node is in the fleet.
type Node struct {
	Name        string   `yaml:"name"` // empty: the host name up to its first dot
	Role        string   `yaml:"role" oneof:"node master"`
	MailAddress HostPort `yaml:"mail_address"` // where other hosts reach this node's Postfix
	Addresses   []string `yaml:"addresses"`    // empty: those of the network interfaces
}

// Filter is the milter server that Postfix speaks to.
type Filter struct {
	Listen         []Listen  `yaml:"listen"`
	MaxConnections int       `yaml:"max_connections" min:"1" max:"100000"`
	ReadTimeout    Duration  `yaml:"read_timeout" min:"10s"`
	WriteTimeout   Duration  `yaml:"write_timeout" min:"1s"`
	DrainTimeout   Duration  `yaml:"drain_timeout"`
	RecordWait     Duration  `yaml:"record_wait" max:"10s"`
	SignNetworks   []Network `yaml:"sign_networks" reload:"live"`
	SignServices   []string  `yaml:"sign_services" reload:"live"`
	Transcripts    bool      `yaml:"transcripts" reload:"live"`
}

// Listen is one socket of the milter.
type Listen struct {
	Address     Endpoint `yaml:"address"`
	Mode        FileMode `yaml:"mode"`
	Group       string   `yaml:"group"`
	AllowRemote bool     `yaml:"allow_remote"`
}

func (l *Listen) preset() { *l = Listen{Mode: 0o660, Group: "postfix"} }

// DKIM is the signing policy.
type DKIM struct {
	KeysDir          Path     `yaml:"keys_dir"`
	Selector         string   `yaml:"selector"`
	Domains          []string `yaml:"domains"`
	Exclude          []string `yaml:"exclude"`
	FallbackDomain   string   `yaml:"fallback_domain"`
	Canonicalization string   `yaml:"canonicalization" oneof:"relaxed/relaxed relaxed/simple simple/relaxed simple/simple"`
	Headers          []string `yaml:"headers"`
	Oversign         []string `yaml:"oversign"`
	Expire           Duration `yaml:"expire"`
	Identity         string   `yaml:"identity"`
	OnMissingKey     string   `yaml:"on_missing_key" oneof:"tempfail accept"`
	OnBadFrom        string   `yaml:"on_bad_from" oneof:"accept reject"`

	RequireDNS   string   `yaml:"require_dns" oneof:"new always never"`
	CheckWaiting Duration `yaml:"check_waiting" min:"1s"`
	CheckUsed    Duration `yaml:"check_used" min:"1s"`
	Rotation     Rotation `yaml:"rotation"`
}

// Postfix says where the Postfix instance is that this node reports on.
type Postfix struct {
	ConfigDir   Path       `yaml:"config_dir"`
	QueueDir    Path       `yaml:"queue_dir"`
	SMTPAddress HostPort   `yaml:"smtp_address"` // asked for its banner
	Log         PostfixLog `yaml:"log"`
}

// PostfixLog says where Postfix's log is read from.
type PostfixLog struct {
	Source      string `yaml:"source" oneof:"auto file journal"`
	File        Path   `yaml:"file"`
	JournalUnit string `yaml:"journal_unit"`
}

// Repository is the store of messages and transcripts.
type Repository struct {
	Dir                Path     `yaml:"dir"`
	KeepMessages       Duration `yaml:"keep_messages" min:"1h" reload:"live"`
	KeepTranscripts    Duration `yaml:"keep_transcripts" min:"1h" reload:"live"`
	MaxMessagesSize    Size     `yaml:"max_messages_size" reload:"live"`
	MaxTranscriptsSize Size     `yaml:"max_transcripts_size" reload:"live"`
	MinFree            Size     `yaml:"min_free"`
}

// Privacy limits what is kept of a message.
type Privacy struct {
	Headers           []string `yaml:"headers" oneof:"from to subject message-id" reload:"live"`
	PseudonymiseAfter Duration `yaml:"pseudonymise_after" reload:"live"`
}

// API is the node API that the aggregator asks.
type API struct {
	Listen       HostPort `yaml:"listen"`
	Address      HostPort `yaml:"address"` // where the aggregator reaches it; empty: the host name and Listen's port
	Certificates string   `yaml:"certificates" oneof:"auto files consul off"`
	CertFile     Path     `yaml:"cert_file"` // {node} is the node's name, as postfleet pki names its files
	KeyFile      Path     `yaml:"key_file"`
	CAFile       Path     `yaml:"ca_file"`
}

// NodeConsul is the node daemon's part in Consul.
type NodeConsul struct {
	Consul
	Weight     int      `yaml:"weight" min:"1" max:"65535" reload:"live"` // this node's share of mail (RFC 2782)
	MailTags   []string `yaml:"mail_tags" reload:"live"`
	ProxyPort  int      `yaml:"proxy_port" min:"0" max:"65535" reload:"live"` // where Postfix wants a PROXY header; 0: nowhere
	Deregister Duration `yaml:"deregister_after" min:"1m"`
}

// DefaultMilter is what holds where milter.yaml says nothing.
func DefaultMilter() Milter {
	const hour, day = Duration(time.Hour), Duration(24 * time.Hour)
	var listen Listen
	listen.preset()
	listen.Address = Endpoint{Network: "unix", Address: "/var/spool/postfix/postfleet/milter.sock"}
	return Milter{
		Node: Node{Role: "node"},
		Milter: Filter{
			Listen:         []Listen{listen},
			MaxConnections: 1000,
			ReadTimeout:    hour,
			WriteTimeout:   Duration(30 * time.Second),
			DrainTimeout:   Duration(20 * time.Second),
			RecordWait:     Duration(250 * time.Millisecond),
			SignNetworks:   []Network{{netip.MustParsePrefix("127.0.0.0/8")}, {netip.MustParsePrefix("::1/128")}},
			SignServices:   []string{"submission", "submissions", "smtps"},
			Transcripts:    true,
		},
		DKIM: DKIM{
			KeysDir:          "/etc/postfleet/keys",
			Selector:         "{node}",
			Canonicalization: "relaxed/relaxed",
			Headers: []string{"From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "Resent-From",
				"Resent-Sender", "Resent-Date", "Resent-To", "Resent-Cc", "Resent-Message-ID", "In-Reply-To", "References",
				"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Description", "List-Id",
				"List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner",
				"List-Archive"},
			Oversign:     []string{"From", "Subject", "Date", "To", "Cc", "Reply-To", "Message-ID"},
			OnMissingKey: "tempfail",
			OnBadFrom:    "accept",
			RequireDNS:   "new",
			CheckWaiting: Duration(30 * time.Second),
			CheckUsed:    Duration(10 * time.Minute),
			Rotation:     Rotation{Selector: "{node}-{yyyymm}{letter}", KeepOld: 7 * day, Bits: 2048, Turn: hour},
		},
		DNS: defaultDNS(),
		Postfix: Postfix{
			ConfigDir:   "/etc/postfix",
			QueueDir:    "/var/spool/postfix",
			SMTPAddress: "127.0.0.1:25",
			Log:         PostfixLog{Source: "auto", File: "/var/log/mail.log", JournalUnit: ""},
		},
		Repository: Repository{
			Dir:                "/var/lib/postfleet",
			KeepMessages:       90 * day,
			KeepTranscripts:    30 * day,
			MaxMessagesSize:    10 << 30,
			MaxTranscriptsSize: 5 << 30,
			MinFree:            200 << 20,
		},
		Privacy: Privacy{Headers: []string{"from", "to", "subject", "message-id"}},
		API: API{
			Listen:       ":8525",
			Certificates: "auto",
			CertFile:     "/etc/postfleet/tls/node-{node}.pem",
			KeyFile:      "/etc/postfleet/tls/node-{node}.key",
			CAFile:       "/etc/postfleet/tls/ca.pem",
		},
		Status: Status{Listen: "127.0.0.1:8526"},
		Consul: NodeConsul{
			Consul:     defaultConsul(),
			Weight:     1,
			Deregister: 72 * hour,
		},
		Relay:    defaultRelay(),
		Diagnose: defaultDiagnose(),
		Log:      defaultLog(),
	}
}

// LoadMilter reads milter.yaml. A file that can't be used gives [Problems].
func LoadMilter(path string) (*Milter, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	return ParseMilter(path, text)
}

// ParseMilter reads the text of a milter.yaml; file is its name in problems.
func ParseMilter(file string, text []byte) (*Milter, error) {
	c := DefaultMilter()
	if err := decode(file, text, &c); err != nil {
		return nil, err
	}
	return &c, nil
}

// Validate holds a configuration that was made in code against the rules that a file has to keep.
func (c *Milter) Validate() error { return validate(c) }

// NodeName is the configured name, or the host name up to its first dot.
func (c *Milter) NodeName(hostname string) (string, error) {
	name := c.Node.Name
	if name == "" {
		name = FirstLabel(hostname)
	}
	if !isNodeName(name) {
		return "", fmt.Errorf("host name %q gives no node name: set node.name", hostname)
	}
	return name, nil
}
