package fleet

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStatsQuery(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name   string
		values url.Values
		want   StatsQuery
		field  string // of the error
	}{
		{"nothing", url.Values{}, StatsQuery{Since: now.Add(-24 * time.Hour), Until: now, Steps: 48}, ""},
		{"span", url.Values{"since": {"7d"}, "steps": {"7"}}, StatsQuery{Since: now.Add(-7 * 24 * time.Hour), Until: now, Steps: 7}, ""},
		{"past day", url.Values{"until": {"2026-11-01"}},
			StatsQuery{Since: time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Steps: 48}, ""},
		{"no time", url.Values{"since": {"yesterday"}}, StatsQuery{}, "since"},
		{"turned round", url.Values{"since": {"1h"}, "until": {"2h"}}, StatsQuery{}, "until"},
		{"no number", url.Values{"steps": {"many"}}, StatsQuery{}, "steps"},
		{"too many", url.Values{"steps": {"401"}}, StatsQuery{}, "steps"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseStatsQuery(tc.values, now)
			if tc.field != "" {
				var bad *Error
				if !errors.As(err, &bad) || bad.Code != CodeInvalid || bad.Field != tc.field {
					t.Fatalf("error %#v, want one about %s", err, tc.field)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			again, err := ParseStatsQuery(got.Values(), now.Add(time.Hour))
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("not read back: %v\n%s", err, diff)
			}
		})
	}
}
