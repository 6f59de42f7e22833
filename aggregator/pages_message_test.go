package aggregator

import (
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The one of many recipients who didn't get the message is shown, and shown first.
func TestRecipientsInTroubleComeFirst(t *testing.T) {
	m := &fleet.Message{Node: "a", ID: 7}
	for range 2 * mostRecipients {
		m.Recipients = append(m.Recipients, fleet.Recipient{Address: "fine@example.com", Status: fleet.StatusDelivered})
	}
	m.Recipients = append(m.Recipients,
		fleet.Recipient{Address: "waits@example.com", Status: fleet.StatusDeferred},
		fleet.Recipient{Address: "gone@example.com", Status: fleet.StatusBounced})
	view := newMessagePage(m, Answer{Node: "a"}, mostRecipients)
	if first, second := view.Shown[0].Address, view.Shown[1].Address; first != "gone@example.com" || second != "waits@example.com" {
		t.Errorf("begins with %s, %s", first, second)
	}
	if len(view.Shown) != mostRecipients || view.Hidden != mostRecipients+2 || view.ShowAll == "" {
		t.Errorf("%d shown, %d hidden, %q", len(view.Shown), view.Hidden, view.ShowAll)
	}
}
