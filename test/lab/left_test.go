package lab

import (
	"os/exec"
	"strings"
	"testing"
)

// A process that outlives its lab is named.
func TestLeft(t *testing.T) {
	t.Parallel()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	stray := exec.Command("sleep", "60")
	stray.Dir = l.Dir
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "is left: sleep") {
		t.Errorf("close: %v", err)
	}
	if err := stray.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = stray.Wait() // killed
	if err := l.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}
