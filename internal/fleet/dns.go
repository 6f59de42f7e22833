package fleet

import "time"

// DNSKind says what a record is for.
type DNSKind string

// The kinds, in the order in which they are listed.
const (
	DNSDKIM   DNSKind = "dkim"
	DNSSPF    DNSKind = "spf"
	DNSDMARC  DNSKind = "dmarc"
	DNSMTASTS DNSKind = "mta-sts"
	DNSTLSRPT DNSKind = "tls-rpt"
	DNSPTR    DNSKind = "ptr"
)

// DNSStatus is how a record stands in DNS.
type DNSStatus string

// The states.
const (
	DNSThere     DNSStatus = "there"     // and it says what it should
	DNSMissing   DNSStatus = "missing"   // there is none
	DNSDiffers   DNSStatus = "differs"   // there is one, and it has to change
	DNSRemovable DNSStatus = "removable" // no longer needed: a retired key's
	DNSUnknown   DNSStatus = "unknown"   // no answer: could not tell
)

// DNSRecord is a record that the fleet needs, or no longer needs.
type DNSRecord struct {
	Domain string    `json:"domain,omitempty"` // the sending domain that it is for; empty for addresses
	Kind   DNSKind   `json:"kind"`
	Name   string    `json:"name"` // without a dot at its end
	Type   string    `json:"type"` // TXT or PTR
	Value  string    `json:"value"`
	Nodes  []string  `json:"nodes,omitempty"` // that need it
	Status DNSStatus `json:"status"`
	Seen   []string  `json:"seen,omitempty"` // what DNS has there; hostile text
	Cut    []string  `json:"cut,omitempty"`  // the strings of the one record in Seen, where they aren't 255 bytes each
	Text   string    `json:"text,omitempty"` // what is wrong, or what to know
	Advice bool      `json:"advice,omitempty"`
}

// DNSPlan is every record that the fleet needs.
type DNSPlan struct {
	At       time.Time        `json:"at"`
	Domains  []string         `json:"domains"`
	Records  []DNSRecord      `json:"records"` // by domain and kind, addresses last
	SPF      []SPFPlan        `json:"spf"`
	Egress   []SendingAddress `json:"egress"`
	Problems []string         `json:"problems,omitempty"` // what the plan lacks, and why
}

// SendingAddress is an address from which a node sends.
type SendingAddress struct {
	Node     string `json:"node"`
	Address  string `json:"address"`
	Hostname string `json:"hostname,omitempty"` // what its PTR record should say
}

// SPFPlan is a domain's SPF record now and as it should be.
type SPFPlan struct {
	Domain   string           `json:"domain"`
	Now      string           `json:"now,omitempty"` // empty: there is none
	Proposed string           `json:"proposed"`      // the same as Now where nothing is missing
	Missing  []SendingAddress `json:"missing,omitempty"`
	Lookups  int              `json:"lookups"` // that a receiver makes for Proposed at worst; the limit is 10 (RFC 7208 section 4.6.4)
	Void     int              `json:"void"`    // look-ups that find nothing; the limit is 2
	Shorter  string           `json:"shorter,omitempty"`
	// ShorterLookups are those of Shorter, and ShorterText says what is different in it.
	ShorterLookups int    `json:"shorter_lookups,omitempty"`
	ShorterText    string `json:"shorter_text,omitempty"`
	Text           string `json:"text,omitempty"` // what is wrong
}

// DNSNeeds is what a plan is made from: the keys and addresses of the nodes that answered.
type DNSNeeds struct {
	Keys     []Key            `json:"keys"`
	Egress   []SendingAddress `json:"egress"`
	Domains  []string         `json:"domains,omitempty"`  // empty: those of the keys
	Problems []string         `json:"problems,omitempty"` // nodes that could not be asked, and why
}
