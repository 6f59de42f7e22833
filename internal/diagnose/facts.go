package diagnose

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Facts are what the checks know of their node. Whoever makes them fills in what there is; what is missing makes a check say
// that it could not tell, or that it doesn't apply.
type Facts struct {
	Node    string
	Now     func() time.Time
	Started time.Time // of the daemon

	DNS     *Resolver
	Egress  []fleet.Egress // where mail leaves from, as others see it
	HELO    string         // what Postfix's SMTP client says; empty: not known
	Domains []string       // that send through this node, in lower case
	Keys    []Key          // that sign now

	Peers     []fleet.Peer  // all nodes, this one among them
	PeersSeen time.Time     // when they were so
	PeersNote string        // why Peers is empty
	Claims    []fleet.Claim // what all nodes say of their DKIM keys

	Takes *fleet.MailLimits // what this node's Postfix takes; nil: not known
	Relay fleet.Relay       // which nodes carry whose mail

	Postfix        *Postfix
	PostfixProblem string   // why Postfix is nil
	SMTP           string   // HOST:PORT where this host reaches its own smtpd
	Milter         []string // addresses of our milter as Postfix writes them: unix:/absolute/path, inet:host:port
	Captured       string   // what the log shows of capture: on, off, or empty before the first delivery

	Queue  func(context.Context) (*Queue, error)
	Disks  []Disk
	Recent func(context.Context) (*Recent, error) // of mail that this node handled lately

	// Compare holds a key's record against the TXT records at its name, as the node does before the key signs; nil: nothing can.
	Compare func(record string, texts []string) (fleet.KeyRecord, string)
	// Prove signs a message with every key that signs now and has the signatures verified with the records that lookup gives.
	Prove func(ctx context.Context, lookup func(name string) ([]string, error)) []Proof

	HTTP  *http.Client   // fetches MTA-STS policies; nil: they are not fetched
	Roots *x509.CertPool // for certificates; nil: the system's

	Limits           Limits
	Targets          []string // HOST or HOST:PORT to try port 25 with; empty: where mail went lately
	Blocklists       []string // zones of address lists
	DomainBlocklists []string // zones of domain lists
	// Local are this host's addresses from which its own smtpd can be asked as by a stranger.
	Local []netip.Addr
	// Sync tells whether the kernel's clock is held by a time service; nil error and false: it isn't.
	Sync func() (bool, error)

	out *outwards // of this run
}

// Key is a DKIM key that signs now, and the record that belongs to it.
type Key struct {
	Domain, Selector string
	Algorithm        string // rsa-sha256, ed25519-sha256
	Bits             int    // RSA
	Record           string // the whole TXT text
	Fingerprint      string
}

// Proof is what became of the signature that one key made.
type Proof struct {
	Domain, Selector string
	Err              error
}

// Limits are where a figure begins to be a finding.
type Limits struct {
	QueueAge    time.Duration // oldest message that waits
	QueueSize   int           // messages that wait
	Certificate time.Duration // left before it ends
	Clock       time.Duration // difference to the other nodes
}

// DefaultLimits hold where the configuration says nothing.
var DefaultLimits = Limits{QueueAge: 24 * time.Hour, QueueSize: 1000, Certificate: 14 * 24 * time.Hour, Clock: 2 * time.Second}

// Queue is what waits in Postfix's queue.
type Queue struct {
	Messages int
	Oldest   time.Time // arrival of the oldest one; zero: nothing waits, or it isn't known
	Deferred int
	Reasons  []string // the most frequent reasons why mail waits, with how often
	From     string   // where this was read
}

// Disk is a file system that postfleet or Postfix writes to.
type Disk struct {
	Path                string
	Use                 string
	Free, Size          uint64 // bytes
	FreeNodes, AllNodes uint64 // inodes; AllNodes 0: the file system has no such limit
	Least               uint64 // bytes that have to be free
	LeastWhy            string
	Err                 error
}

// Recent is what this node's records say of its mail.
type Recent struct {
	Since     time.Time
	Messages  int
	Relays    []RecentRelay // where mail went, the most frequent first
	Encrypted int           // deliveries to other hosts
	Clear     int
	Greetings []Greeting // EHLO replies of captured conversations, one a server
	Again     []Repeated // Message-IDs that more than one mail had
	NoID      int        // messages without a Message-ID
	BadDates  []BadDate
	Dates     int // messages whose Date was seen
}

// RecentRelay is a server that took mail.
type RecentRelay struct {
	Host, Addr string
	Port       int
	Deliveries int
	Last       time.Time
}

// Greeting is what a server offered in its reply to EHLO.
type Greeting struct {
	Peer  string // HOST[ADDR]:PORT
	Time  time.Time
	Lines []string // without the code
}

// Repeated is a Message-ID that several mails had.
type Repeated struct {
	MessageID string
	Queue     []string // queue ids
}

// BadDate is a message whose Date is missing, can't be read, or is far from when it came.
type BadDate struct {
	QueueID, From, Why string
}

// others are the nodes but this one.
func (f *Facts) others() (others []fleet.Peer) {
	for _, p := range f.Peers {
		if p.Name != f.Node {
			others = append(others, p)
		}
	}
	return others
}

// alone is the part for a check that compares nodes on a node that knows no other.
func (f *Facts) alone() *fleet.Part {
	if len(f.Peers) > 0 {
		return &fleet.Part{Grade: fleet.GradeNA, Seen: "this is the only node of the fleet"}
	}
	return unknown("", "the other nodes aren't known: "+first(f.PeersNote, "nobody has told of them yet"))
}

// addresses are the egress addresses, parsed; those that can't be are left out, since configuration refuses them.
func (f *Facts) addresses() (list []netip.Addr) {
	for _, e := range f.Egress {
		if addr, err := netip.ParseAddr(e.Address); err == nil {
			list = append(list, addr.Unmap())
		}
	}
	return list
}

// seenPeers says how old the facts about the other nodes are.
func (f *Facts) seenPeers() string {
	if f.PeersSeen.IsZero() {
		return "the other nodes as they are now"
	}
	return fmt.Sprintf("the other nodes as of %s", f.PeersSeen.UTC().Format(time.RFC3339))
}
