package aggregator

import (
	"net/http"
	"strconv"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// dnsPage is every record that the fleet needs.
type dnsPage struct {
	*fleet.DNSPlan
	Groups []dnsGroup
	ToDo   int
	Files  []dnsFile
}

// dnsGroup are the records of one domain, or of the addresses.
type dnsGroup struct {
	Domain string
	Rows   []dnsRow
	SPF    *fleet.SPFPlan
	Open   bool // something is to be done
}

type dnsRow struct {
	fleet.DNSRecord
	Mark mark
	Line string // of a zone file
}

type dnsFile struct{ Format, Name string }

// dnsFiles are the forms in which the records can be taken along.
var dnsFiles = []dnsFile{{"zone", "Zone file"}, {"nsupdate", "nsupdate script"}, {"text", "Text"}, {"json", "JSON"}}

// dnsMarks are the states as the page shows them.
var dnsMarks = map[fleet.DNSStatus]mark{
	fleet.DNSThere:     {"delivered", "good", "There", "DNS has the record as it should be"},
	fleet.DNSMissing:   {"bounced", "bad", "To publish", "DNS has no such record"},
	fleet.DNSDiffers:   {"deferred", "bad", "To change", "DNS has a record that has to change"},
	fleet.DNSRemovable: {"unknown", "quiet", "May be removed", "Nothing needs it any more"},
	fleet.DNSUnknown:   {"unknown", "refused", "Could not tell", "There was no answer; this is neither there nor missing"},
}

var dnsAdvised = mark{"held", "quiet", "Advised", "Not needed to send; good to have"}

var dnsKindWords = map[fleet.DNSKind]string{fleet.DNSDKIM: "DKIM", fleet.DNSSPF: "SPF", fleet.DNSDMARC: "DMARC",
	fleet.DNSMTASTS: "MTA-STS", fleet.DNSTLSRPT: "TLS-RPT", fleet.DNSPTR: "PTR"}

func (s *Server) pageDNS(w http.ResponseWriter, r *http.Request) {
	plan, err := s.plan(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "dns", "DNS to publish", newDNSPage(plan))
}

// pageDNSFile gives the records as a file to take along.
func (s *Server) pageDNSFile(w http.ResponseWriter, r *http.Request) {
	s.dnsText(w, r, r.URL.Query().Get("format"), "postfleet-dns-"+strconv.FormatInt(s.clock().Unix(), 10)+".txt")
}

func newDNSPage(plan *fleet.DNSPlan) *dnsPage {
	view := &dnsPage{DNSPlan: plan, Files: dnsFiles}
	for _, record := range plan.Records {
		if n := len(view.Groups); n == 0 || view.Groups[n-1].Domain != record.Domain {
			view.Groups = append(view.Groups, dnsGroup{Domain: record.Domain, SPF: spfOf(plan, record.Domain)})
		}
		group := &view.Groups[len(view.Groups)-1]
		row := dnsRow{DNSRecord: record, Mark: dnsMarks[record.Status], Line: recordLine(&record)}
		if record.Advice && record.Status == fleet.DNSMissing {
			row.Mark = dnsAdvised
		} else if record.Status == fleet.DNSMissing || record.Status == fleet.DNSDiffers {
			view.ToDo++
			group.Open = true
		}
		group.Rows = append(group.Rows, row)
	}
	return view
}

func spfOf(plan *fleet.DNSPlan, domain string) *fleet.SPFPlan {
	for i := range plan.SPF {
		if plan.SPF[i].Domain == domain {
			return &plan.SPF[i]
		}
	}
	return nil
}

// recordLine is what an administrator puts into the zone; empty where there is nothing to put. DNS services take the value alone; a long one they cut themselves.
func recordLine(r *fleet.DNSRecord) string {
	if r.Status == fleet.DNSThere || r.Status == fleet.DNSRemovable {
		return ""
	}
	return r.Value
}

// KindWords name the record's kind.
func (r dnsRow) KindWords() string { return dnsKindWords[r.Kind] }

// durationDays is a span in days where it is some, for schedules.
func durationDays(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return plural(int(d/day), "day", "days")
	}
	return d.String()
}
