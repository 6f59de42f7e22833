package fleet

import "time"

// Member is a node as discovery knows it, from Consul or the static list.
type Member struct {
	Name    string            `json:"name"`
	API     string            `json:"api"` // https://HOST:PORT of the node API
	Healthy bool              `json:"healthy"`
	Reason  string            `json:"reason,omitempty"` // why not healthy
	Meta    map[string]string `json:"meta,omitempty"`

	// Hop is where the node takes mail of other nodes, HOST:PORT; empty: it carries none.
	Hop string `json:"hop,omitempty"`
	// Fit: the node may be given new mail: its mail service passes, it doesn't drain, its queue is within bounds. Unfit says why not.
	Fit    bool   `json:"fit"`
	Unfit  string `json:"unfit,omitempty"`
	Weight int    `json:"weight,omitempty"` // its share of mail; 0: 1
}

// NodeInfo is what a node says of itself.
type NodeInfo struct {
	Name         string      `json:"name"`
	Version      string      `json:"version"`
	Hostname     string      `json:"hostname"`
	Role         string      `json:"role"`                   // node or master
	MailAddress  string      `json:"mail_address,omitempty"` // host:port where its Postfix takes mail
	Addresses    []string    `json:"addresses,omitempty"`
	Egress       []Egress    `json:"egress,omitempty"`  // where its mail leaves from, as its last diagnosis knows
	Postfix      string      `json:"postfix,omitempty"` // mail_version
	Takes        *MailLimits `json:"takes,omitempty"`   // nil: postconf(1) gave no answer
	Started      time.Time   `json:"started"`
	Now          time.Time   `json:"now"` // the node's clock, for the difference to the aggregator's
	Capabilities []string    `json:"capabilities"`
	Selectors    []Selector  `json:"selectors,omitempty"`
	Capture      string      `json:"capture"` // on, off, unknown: whether outbound conversations are in the log
	Draining     bool        `json:"draining,omitempty"`
	Drain        *Drain      `json:"drain,omitempty"` // while it drains on an administrator's word
	Relay        *RelayState `json:"relay,omitempty"`
	Queue        *Queue      `json:"queue,omitempty"` // nil: the queue directory can't be read
	Log          LogState    `json:"log"`
	Recording    Recording   `json:"recording"`
	Milter       Traffic     `json:"milter"`
	Checks       []Check     `json:"checks"`
}

// Capabilities of this version; an aggregator shows a missing one as such.
const (
	CapMessages    = "messages"
	CapTranscripts = "transcripts"
	CapEvents      = "events"
	CapStats       = "stats"
	CapDrain       = "drain"             // takes drain and undrain
	CapDiagnosis   = "diagnosis"         // makes diagnoses and sends test messages
	CapKeys        = "keys"              // shows and takes orders about the life of its DKIM keys
	CapRelay       = "relay"             // hands over and carries, reports what became of what it carried; Query.Hops
	CapOutcome     = "filter-tls-reason" // Query.TLS and Query.Reason, which an older node would ignore
	CapCarrier     = "filter-carrier"    // Query.Carrier, the same
)

// Selector is a DKIM key that the node signs with.
type Selector struct {
	Domain    string `json:"domain"`
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"`
	Bits      int    `json:"bits,omitempty"` // RSA
}

// Queue counts the files in Postfix's queue.
type Queue struct {
	Incoming int `json:"incoming"`
	Active   int `json:"active"`
	Deferred int `json:"deferred"`
	Hold     int `json:"hold"`
}

// LogState is how far the log follower is.
type LogState struct {
	Source      string    `json:"source"`          // file path or "journal"
	Error       string    `json:"error,omitempty"` // why nothing is read at the moment
	LastLine    time.Time `json:"last_line,omitzero"`
	BehindBytes int64     `json:"behind_bytes"` // of a file: bytes not read yet
	Lines       int64     `json:"lines"`        // since start
	Unknown     int64     `json:"unknown"`      // lines that no pattern knew
	Sample      string    `json:"unknown_sample,omitempty"`
}

// Recording is the state of the repository.
type Recording struct {
	State   string    `json:"state"` // ok, paused
	Reason  string    `json:"reason,omitempty"`
	Late    int64     `json:"late"`    // records committed after the end-of-message reply
	Dropped int64     `json:"dropped"` // records lost
	Bytes   int64     `json:"bytes"`   // on disk
	Oldest  time.Time `json:"oldest,omitzero"`
}

// Traffic counts the milter's work since start.
type Traffic struct {
	Connections int64 `json:"connections"` // open now
	Messages    int64 `json:"messages"`
	Signed      int64 `json:"signed"`
	Refused     int64 `json:"refused"`
	Malformed   int64 `json:"malformed"` // connections closed for packets that are not the milter protocol
}

// Check is one thing that must hold for the node to be fit.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// Change is a live event: a message that began or changed. Within the aggregator it may be a gap instead: changes of the
// node that it names were missed, and Message is empty.
type Change struct {
	Message Message `json:"message"`
	Gap     string  `json:"-"`
}
