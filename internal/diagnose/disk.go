package diagnose

import (
	"context"
	"fmt"

	"github.com/postfleet/postfleet/internal/fleet"
)

var disk = Check{
	Name: "disk", Title: "Space on disk", Group: GroupHost,
	Why: "A full queue directory stops mail, a full repository stops recording, and a full log directory blinds both.",
	Run: func(_ context.Context, f *Facts) (parts []fleet.Part) {
		for i := range f.Disks {
			parts = append(parts, space(&f.Disks[i]))
		}
		return parts
	},
}

// Shares of a file system that have to be free.
const (
	littleSpace = 0.10
	noSpace     = 0.03
)

func space(d *Disk) fleet.Part {
	subject := d.Use + " " + d.Path
	if d.Err != nil {
		return *unknown(subject, d.Err.Error())
	}
	share := func(free, all uint64) float64 {
		if all == 0 {
			return 1
		}
		return float64(free) / float64(all)
	}
	bytes, nodes := share(d.Free, d.Size), share(d.FreeNodes, d.AllNodes)
	p := part(subject, fleet.GradePass, "%s free of %s", bytesWords(d.Free), bytesWords(d.Size))
	p.Evidence = []string{fmt.Sprintf("%.0f %% of the space free, %.0f %% of the inodes", 100*bytes, 100*nodes)}
	if d.Least > 0 {
		p.Evidence = append(p.Evidence, bytesWords(d.Least)+" needed: "+d.LeastWhy)
	}
	p.Mend = []string{"Find what fills it:", "du -xh --max-depth=2 " + d.Path + " | sort -h | tail", "df -hi " + d.Path}
	switch {
	case d.Free < d.Least:
		p.Grade, p.Seen = fleet.GradeFail, p.Seen+": "+d.LeastWhy+" needs "+bytesWords(d.Least)
	case nodes < noSpace:
		p.Grade, p.Seen = fleet.GradeFail, fmt.Sprintf("%d inodes are left of %d", d.FreeNodes, d.AllNodes)
	case bytes < noSpace:
		p.Grade = fleet.GradeFail
	case bytes < littleSpace || nodes < littleSpace:
		p.Grade = fleet.GradeWarn
	default:
		p.Mend = nil
	}
	return p
}

func bytesWords(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
