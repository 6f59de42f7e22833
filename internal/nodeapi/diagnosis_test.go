package nodeapi

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

type fakeDiagnostics struct {
	asked fleet.DiagnoseRequest
	test  fleet.TestRequest
}

var someDiagnoses = fleet.Diagnoses{Latest: &fleet.Diagnosis{Node: "mx1", Cause: fleet.CauseSchedule, Started: noon, Ended: noon, Total: 1,
	Findings: []fleet.Finding{{Check: "ptr", Grade: fleet.GradeFail, Parts: []fleet.Part{{Subject: "192.0.2.1", Grade: fleet.GradeFail, Seen: "no PTR"}}}}}}

func (*fakeDiagnostics) Diagnoses() *fleet.Diagnoses { return &someDiagnoses }

func (d *fakeDiagnostics) Diagnose(request fleet.DiagnoseRequest) (*fleet.Diagnoses, error) {
	d.asked = request
	return &someDiagnoses, nil
}

func (d *fakeDiagnostics) SendTest(_ context.Context, request fleet.TestRequest) (*fleet.TestMessage, error) {
	d.test = request
	return &fleet.TestMessage{Node: "mx1", QueueID: "4A"}, nil
}

func (*fakeDiagnostics) Peer() fleet.Peer {
	return fleet.Peer{Name: "mx1", Egress: []string{"192.0.2.1"}}
}

func TestDiagnosis(t *testing.T) {
	d := &fakeDiagnostics{}
	_, client := serve(t, newTestHandler(t, Options{Diagnostics: d}))
	got, err := client.Diagnoses(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&someDiagnoses, got); diff != "" {
		t.Error(diff)
	}
	request := fleet.DiagnoseRequest{Cause: fleet.CauseOperator, By: "ann", Checks: []string{"spf"}, Fleet: []fleet.Peer{{Name: "mx2", Egress: []string{"192.0.2.2"}}}}
	if _, err := client.Diagnose(deadline(t), request); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(request, d.asked); diff != "" {
		t.Error(diff)
	}
	sent, err := client.SendTest(deadline(t), fleet.TestRequest{To: "you@example.org"})
	if err != nil || sent.QueueID != "4A" || d.test.By != "aggregator" {
		t.Errorf("%+v, %v, by %q", sent, err, d.test.By)
	}
}

// Another node may know addresses, selectors and the clock, and have nothing done.
func TestPeerIsForNodesToo(t *testing.T) {
	_, client := serve(t, newTestHandler(t, Options{Diagnostics: &fakeDiagnostics{}, Caller: asNode}))
	peer, err := client.Peer(deadline(t))
	if err != nil || peer.Egress[0] != "192.0.2.1" || !peer.Now.Equal(noon) {
		t.Errorf("%+v, %v", peer, err)
	}
	for name, ask := range map[string]func() error{
		"diagnoses": func() error { _, err := client.Diagnoses(deadline(t)); return err },
		"diagnose":  func() error { _, err := client.Diagnose(deadline(t), fleet.DiagnoseRequest{}); return err },
		"test":      func() error { _, err := client.SendTest(deadline(t), fleet.TestRequest{}); return err },
	} {
		if err := ask(); fleet.CodeOf(err) != fleet.CodeForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNodeWithoutDiagnostics(t *testing.T) {
	_, client := serve(t, newTestHandler(t, Options{}))
	if _, err := client.Diagnoses(deadline(t)); fleet.CodeOf(err) != fleet.CodeUnsupported {
		t.Error(err)
	}
}
