package diagnose

import "testing"

// A PTR is somebody else's text, and advice is pasted into shells.
func TestPasteable(t *testing.T) {
	for name, want := range map[string]bool{"mail.example.com": true, "mx-1.example.com": true, `a\'&reboot&\'.example.com`: false, "$(reboot).example.com": false,
		"mail": false, "": false} {
		if pasteable(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}
