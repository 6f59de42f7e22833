package postfixlog

import (
	"testing"
	"time"
)

func TestStamps(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("CET", 3600)
	tests := map[string]struct {
		stamps stamps
		lines  []string
		want   []string // in UTC
	}{
		"the reference's year": {stamps{location: time.UTC, reference: reference}, []string{"Nov 23 11:00:00", "Jan  2 03:04:05"},
			[]string{"2026-11-23T11:00:00Z", "2026-01-02T03:04:05Z"}},
		"not past the reference":                  {stamps{location: time.UTC, reference: reference}, []string{"Dec 31 23:59:59"}, []string{"2025-12-31T23:59:59Z"}},
		"an hour past it is a clock that differs": {stamps{location: time.UTC, reference: reference}, []string{"Nov 23 13:00:00"}, []string{"2026-11-23T13:00:00Z"}},
		"at the turn of the year": {stamps{location: time.UTC, reference: time.Date(2027, 1, 1, 0, 0, 5, 0, time.UTC)},
			[]string{"Dec 31 23:59:59", "Jan  1 00:00:01"}, []string{"2026-12-31T23:59:59Z", "2027-01-01T00:00:01Z"}},
		"at the turn of the year, the log's clock ahead": {stamps{location: time.UTC, reference: time.Date(2026, 12, 31, 23, 59, 50, 0, time.UTC)},
			[]string{"Jan  1 00:00:01"}, []string{"2027-01-01T00:00:01Z"}},
		"counted on from a year": {stamps{location: time.UTC, year: 2023}, []string{"Nov 30 00:00:00", "Dec  1 00:00:00", "Jan  1 00:00:00", "Feb  1 00:00:00", "Dec  1 00:00:00", "Jan  1 00:00:00"},
			[]string{"2023-11-30T00:00:00Z", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"}},
		"29 February":     {stamps{location: time.UTC, reference: reference}, []string{"Feb 29 12:00:00"}, []string{"2024-02-29T12:00:00Z"}},
		"the host's zone": {stamps{location: berlin, reference: reference}, []string{"Nov 23 11:00:00"}, []string{"2026-11-23T10:00:00Z"}},
		"RFC 3339": {stamps{location: berlin, reference: reference}, []string{"2026-11-23T11:00:00.5+01:00", "2026-11-23T11:00:00-0330", "2026-11-23T11:00:01Z"},
			[]string{"2026-11-23T10:00:00.5Z", "2026-11-23T14:30:00Z", "2026-11-23T11:00:01Z"}},
		"a clock that was set back a little": {stamps{location: time.UTC, reference: reference}, []string{"Nov 23 11:00:00", "Nov 23 10:59:00", "Nov 23 11:00:01"},
			[]string{"2026-11-23T11:00:00Z", "2026-11-23T11:00:00Z", "2026-11-23T11:00:01Z"}},
		"another file": {stamps{location: time.UTC, reference: reference}, []string{"Nov 23 11:00:00", "Nov 20 11:00:00"},
			[]string{"2026-11-23T11:00:00Z", "2026-11-20T11:00:00Z"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, line := range test.lines {
				at, _, ok := test.stamps.read([]byte(line + " host"))
				if i == 1 && name == "RFC 3339" { // 14:30 came before 11:00:01: the leap back is too far to be held
					test.stamps.last = time.Time{}
				}
				if got := at.Format(time.RFC3339Nano); !ok || got != test.want[i] {
					t.Errorf("%s: got %s, %v; want %s", line, got, ok, test.want[i])
				}
			}
		})
	}
}

// The hour that comes twice at the end of summer time goes on, instead of coming twice.
func TestStampsWhenSummerTimeEnds(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("no time zone data: %v", err)
	}
	s := stamps{location: zone, reference: reference}
	for _, step := range []struct{ stamp, want string }{
		{"Oct 25 01:59:59", "2026-10-24T23:59:59Z"},
		{"Oct 25 02:30:00", "2026-10-25T00:30:00Z"},
		{"Oct 25 02:59:59", "2026-10-25T00:59:59Z"},
		{"Oct 25 02:00:00", "2026-10-25T01:00:00Z"},
		{"Oct 25 02:30:00", "2026-10-25T01:30:00Z"},
		{"Oct 25 03:00:00", "2026-10-25T02:00:00Z"},
	} {
		at, _, ok := s.read([]byte(step.stamp + " host"))
		if got := at.Format(time.RFC3339); !ok || got != step.want {
			t.Errorf("%s: got %s, %v; want %s", step.stamp, got, ok, step.want)
		}
	}
}
