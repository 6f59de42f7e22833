package repository

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := open(t, func(o *Options) { o.Registerer = registry })
	recorded, logged := life(1, noon)
	record(t, r, recorded)
	if err := r.AppendLog(context.Background(), Position{Source: "log"}, logged); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[family.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if got["postfleet_repository_bytes"] == 0 {
		t.Error("no bytes")
	}
	delete(got, "postfleet_repository_bytes")
	want := map[string]float64{
		"postfleet_repository_commits_total":         2,
		"postfleet_repository_commit_seconds":        2,
		"postfleet_repository_events_total":          7,
		"postfleet_repository_events_ignored_total":  0,
		"postfleet_repository_messages_total":        1,
		"postfleet_repository_files":                 2,
		"postfleet_repository_files_removed_total":   0,
		"postfleet_repository_files_set_aside_total": 0,
		"postfleet_repository_late_total":            0,
		"postfleet_repository_dropped_total":         0,
		"postfleet_repository_paused":                0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, func(o *Options) { o.Registerer = registry }) // the names are free again
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
