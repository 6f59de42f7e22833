package dnspublish

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Formats are the forms in which a plan is written.
const (
	FormatText     = "text"
	FormatZone     = "zone"
	FormatJSON     = "json"
	FormatNSUpdate = "nsupdate"
)

// DefaultTTL is what records get in zone files and scripts.
const DefaultTTL = time.Hour

// Format writes a plan in one of the forms. What DNS said is made safe for terminals and files: see [dnsask.Escape].
func Format(plan *fleet.DNSPlan, format string) (string, error) {
	var out strings.Builder
	switch format {
	case FormatText:
		writeText(&out, plan)
	case FormatZone:
		writeZone(&out, plan)
	case FormatNSUpdate:
		writeScript(&out, plan)
	case FormatJSON:
		encoder := json.NewEncoder(&out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(plan); err != nil {
			return "", fmt.Errorf("write the records as JSON: %w", err)
		}
	default:
		return "", fleet.Invalid("format", "%.40q: expected text, zone, json or nsupdate", format)
	}
	return out.String(), nil
}

// statusWords is what a record's state means to whoever has to act.
var statusWords = map[fleet.DNSStatus]string{fleet.DNSThere: "there", fleet.DNSMissing: "to publish", fleet.DNSDiffers: "to change",
	fleet.DNSRemovable: "may be removed", fleet.DNSUnknown: "could not tell"}

func writeText(out *strings.Builder, plan *fleet.DNSPlan) {
	for _, problem := range plan.Problems {
		fmt.Fprintf(out, "! %s\n", dnsask.Escape(problem))
	}
	domain := "-"
	for i := range plan.Records {
		r := &plan.Records[i]
		if r.Domain != domain {
			domain = r.Domain
			heading := domain
			if heading == "" {
				heading = "addresses"
			}
			fmt.Fprintf(out, "\n%s\n", heading)
		}
		status := statusWords[r.Status]
		if r.Advice && r.Status == fleet.DNSMissing {
			status = "advised"
		}
		fmt.Fprintf(out, "  %-14s  %s  %s\n", status, r.Name, r.Type)
		if r.Status != fleet.DNSThere && r.Value != "" {
			fmt.Fprintf(out, "      %s\n", dnsask.Escape(r.Value))
		}
		if r.Text != "" {
			fmt.Fprintf(out, "      # %s\n", dnsask.Escape(r.Text))
		}
	}
	for i := range plan.SPF {
		if s := &plan.SPF[i]; s.Proposed != "" {
			fmt.Fprintf(out, "\nSPF of %s takes %d of %d look-ups\n", s.Domain, s.Lookups, spfwalk.MaxLookups)
			if s.Shorter != "" {
				fmt.Fprintf(out, "  shorter, %d look-ups: %s\n  # %s\n", s.ShorterLookups, dnsask.Escape(s.Shorter), s.ShorterText)
			}
		}
	}
}

// writeZone writes what the zones should have, each record once, with how it stands before it. Addresses' records belong to
// other zones and stand as comments.
func writeZone(out *strings.Builder, plan *fleet.DNSPlan) {
	for _, problem := range plan.Problems {
		fmt.Fprintf(out, "; %s\n", dnsask.Escape(problem))
	}
	for i := range plan.Records {
		r := &plan.Records[i]
		if r.Value == "" {
			continue
		}
		fmt.Fprintf(out, "; %s %s: %s", r.Kind, statusWords[r.Status], strings.Join(r.Nodes, ", "))
		if r.Text != "" {
			fmt.Fprintf(out, " %s", dnsask.Escape(r.Text))
		}
		out.WriteByte('\n')
		if r.Type != "TXT" || r.Status == fleet.DNSRemovable || r.Advice && r.Status != fleet.DNSThere {
			out.WriteString("; ")
		}
		fmt.Fprintf(out, "%s\n", ZoneLine(r.Name, r.Type, r.Value))
	}
}

// ZoneLine is a record as one line of a zone file.
func ZoneLine(name, kind, value string) string {
	data := value + "."
	if kind == "TXT" {
		data = dnsask.Quote(value)
	}
	return fmt.Sprintf("%s.\t%d\tIN\t%s\t%s", name, int(DefaultTTL/time.Second), kind, data)
}

// writeScript writes what nsupdate takes. Each change has its condition and is sent alone, so that one that is refused keeps no
// other back.
func writeScript(out *strings.Builder, plan *fleet.DNSPlan) {
	out.WriteString("; nsupdate -k KEYFILE THISFILE\n; Add a line \"server ADDRESS\" here unless the zones' SOA records name the primary.\n")
	for _, problem := range plan.Problems {
		fmt.Fprintf(out, "; %s\n", dnsask.Escape(problem))
	}
	for i := range plan.Records {
		r := &plan.Records[i]
		if r.Type != "TXT" || r.Advice || r.Value == "" {
			continue
		}
		switch {
		case r.Status == fleet.DNSMissing && r.Kind == fleet.DNSSPF:
			fmt.Fprintf(out, "\nupdate add %s\nsend\n", flat(ZoneLine(r.Name, r.Type, r.Value)))
		case r.Status == fleet.DNSMissing:
			fmt.Fprintf(out, "\nprereq nxrrset %s. TXT\nupdate add %s\nsend\n", r.Name, flat(ZoneLine(r.Name, r.Type, r.Value)))
		case r.Status == fleet.DNSDiffers && r.Kind == fleet.DNSSPF && len(r.Seen) == 1 && r.Seen[0] != r.Value:
			old := dnsask.Quote(r.Seen[0])
			if len(r.Cut) > 0 {
				old = dnsask.QuoteCut(r.Cut) // a server compares strings: it would keep the old one beside the new
			}
			fmt.Fprintf(out, "\nprereq yxrrset %s. TXT\nupdate delete %s. TXT %s\nupdate add %s\nsend\n", r.Name, r.Name, old,
				flat(ZoneLine(r.Name, r.Type, r.Value)))
		case r.Status == fleet.DNSRemovable:
			fmt.Fprintf(out, "\n; no longer needed\nupdate delete %s. TXT %s\nsend\n", r.Name, dnsask.Quote(r.Value))
		}
	}
}

func flat(line string) string { return strings.ReplaceAll(line, "\t", " ") }
