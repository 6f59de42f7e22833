package dnspublish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

// ZoneUpdate is what is to change in one zone.
type ZoneUpdate struct {
	Zone    string   `json:"zone"`
	Changes []Change `json:"changes"`
}

// Prepared is what an update would do, and what it leaves alone.
type Prepared struct {
	Zones []ZoneUpdate `json:"zones"`
	Left  []LeftAlone  `json:"left,omitempty"`
}

// LeftAlone is a record that an update doesn't touch.
type LeftAlone struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Prepare asks the primary what is there and works out what to change: DKIM records that are missing, an SPF record that lacks
// nodes, a DMARC record where there is none. remove also takes records of retired keys out. Names at which something stands
// that isn't the fleet's are left alone. compare is [Planner].Compare.
func (u *Updater) Prepare(ctx context.Context, plan *fleet.DNSPlan, remove bool,
	compare func(string, []string) (fleet.KeyRecord, string)) (*Prepared, error) {
	prepared := &Prepared{}
	for i := range plan.Records {
		r := &plan.Records[i]
		if r.Type != "TXT" || r.Advice || r.Value == "" || r.Status == fleet.DNSRemovable && !remove {
			continue
		}
		current, err := u.Current(ctx, r.Name)
		if errors.As(err, new(elsewhereError)) {
			if r.Status != fleet.DNSThere {
				prepared.Left = append(prepared.Left, LeftAlone{r.Name, err.Error()})
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		change, why := wanted(r, current, compare)
		if why != "" {
			prepared.Left = append(prepared.Left, LeftAlone{r.Name, why})
		}
		if change == nil {
			continue
		}
		zone, err := u.Zone(ctx, r.Name)
		if err != nil {
			prepared.Left = append(prepared.Left, LeftAlone{r.Name, err.Error()})
			continue
		}
		prepared.add(zone, *change)
	}
	return prepared, nil
}

func (p *Prepared) add(zone string, change Change) {
	for i := range p.Zones {
		if p.Zones[i].Zone == zone {
			p.Zones[i].Changes = append(p.Zones[i].Changes, change)
			return
		}
	}
	p.Zones = append(p.Zones, ZoneUpdate{zone, []Change{change}})
}

// wanted is the change that a record needs, given what the primary has; why it is left alone otherwise.
func wanted(r *fleet.DNSRecord, current []string, compare func(string, []string) (fleet.KeyRecord, string)) (change *Change, why string) {
	change = &Change{Name: r.Name, Before: current, Add: []string{r.Value}}
	switch r.Kind {
	case fleet.DNSDKIM:
		found, words := compare(r.Value, current)
		switch {
		case r.Status == fleet.DNSRemovable && slices.Contains(current, r.Value):
			change.Add, change.Remove = nil, []string{r.Value}
			return change, ""
		case r.Status == fleet.DNSRemovable || found == fleet.RecordMatches:
			return nil, ""
		case len(current) > 0:
			return nil, "something else is there: " + words
		}
		return change, ""
	case fleet.DNSSPF:
		records := spfwalk.Records(current)
		switch {
		case slices.Equal(records, []string{r.Value}):
			return nil, ""
		case r.Status == fleet.DNSUnknown:
			return nil, r.Text
		case !slices.Equal(records, r.Seen):
			return nil, "the primary has another SPF record than the resolver saw: try again when the old one has left the caches"
		}
		change.Remove = records
		return change, ""
	case fleet.DNSDMARC:
		switch {
		case len(current) > 0 || r.Status == fleet.DNSThere:
			return nil, ""
		case r.Status != fleet.DNSMissing:
			return nil, r.Text
		}
		return change, ""
	}
	return nil, ""
}

// Diff is the update as lines that begin with + or -, and those left alone with =.
func (p *Prepared) Diff() string {
	var out strings.Builder
	for _, zone := range p.Zones {
		fmt.Fprintf(&out, "zone %s\n", zone.Zone)
		for i := range zone.Changes {
			for _, text := range zone.Changes[i].Remove {
				fmt.Fprintf(&out, "- %s\n", flat(ZoneLine(zone.Changes[i].Name, "TXT", text)))
			}
			for _, text := range zone.Changes[i].Add {
				fmt.Fprintf(&out, "+ %s\n", flat(ZoneLine(zone.Changes[i].Name, "TXT", text)))
			}
		}
	}
	for _, left := range p.Left {
		fmt.Fprintf(&out, "= %s: %s\n", left.Name, dnsask.Escape(left.Why))
	}
	return out.String()
}

// Commit makes the changes, zone by zone, each all or none. The error says which zones were changed before it.
func (u *Updater) Commit(ctx context.Context, p *Prepared) error {
	var done []string
	for _, zone := range p.Zones {
		if err := u.Apply(ctx, zone.Zone, zone.Changes); err != nil {
			if len(done) > 0 {
				err = fmt.Errorf("%w; changed already: %s", err, strings.Join(done, ", "))
			}
			return err
		}
		done = append(done, zone.Zone)
	}
	return nil
}
