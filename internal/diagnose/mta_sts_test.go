package diagnose

import "testing"

// Of a field that a policy has twice the first counts, but for mx.
func TestPolicyTwice(t *testing.T) {
	p := readPolicy([]byte("version: STSv1\nmode: testing\nmode: enforce\nmx: a.test\nmx: *.b.test\nmax_age: 86400\nmax_age: x\n"))
	if p.wrong != "" || p.mode != "testing" || !p.covers("a.test") || !p.covers("mx.b.test") || p.covers("b.test") {
		t.Errorf("%+v", p)
	}
}

func TestPolicyID(t *testing.T) {
	for record, want := range map[string]bool{"v=STSv1; id=20261123T1;": true, "v=STSv1;id=1": true, "v=STSv1; x=1; id = a ": true,
		"v=STSv1": false, "v=STSv1; id=": false, "v=STSv1; id=2026-11-23": false, "v=STSv1; id=123456789012345678901234567890123": false, "v=STSv1; aid=1": false} {
		if got := stsID.MatchString(record); got != want {
			t.Errorf("%q: %v", record, got)
		}
	}
}
