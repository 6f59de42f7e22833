package config

import "testing"

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		path, text string
		want       Kind
	}{
		{"/etc/postfleet/milter.yaml", "", KindMilter},
		{"/etc/postfleet/aggregator.yaml", "", KindAggregator},
		{"/tmp/x.yaml", "dkim:\nlog:\n", KindMilter},
		{"/tmp/x.yaml", "members:\nlog:\n", KindAggregator},
		{"/tmp/aggregator.yaml", "node:\n", KindMilter},
		{"/tmp/aggregator.yaml", "log:\nconsul:\n", KindAggregator},
		{"/tmp/my-aggregator.yaml", "- not a mapping\n", KindAggregator},
		{"/tmp/x.yaml", "not: [yaml", KindMilter},
	} {
		if got := kindOf(c.path, []byte(c.text)); got != c.want {
			t.Errorf("%s with %q: %s, want %s", c.path, c.text, got, c.want)
		}
	}
}
