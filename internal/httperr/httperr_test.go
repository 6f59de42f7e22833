package httperr

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestEveryCodeTravels(t *testing.T) {
	for code, status := range statuses {
		t.Run(string(code), func(t *testing.T) {
			sent := &fleet.Error{Code: code, Field: "sender", Message: "no"}
			w := httptest.NewRecorder()
			WriteJSON(w, fmt.Errorf("asking: %w", sent))
			if w.Code != status {
				t.Errorf("status %d, want %d", w.Code, status)
			}
			if diff := cmp.Diff(sent, Read(w.Code, w.Body)); diff != "" {
				t.Errorf("error changed on the way:\n%s", diff)
			}
		})
	}
}

func TestInsideStaysInside(t *testing.T) {
	w := httptest.NewRecorder()
	WriteJSON(w, errors.New("open /secret/path: permission denied"))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestForeignAnswer(t *testing.T) {
	got := Read(503, strings.NewReader("<html>proxy error</html>"))
	if got.Code != fleet.CodeUnavailable || !strings.Contains(got.Message, "503") {
		t.Errorf("got %+v", got)
	}
	if got := Read(418, strings.NewReader("")); got.Code != fleet.CodeInternal {
		t.Errorf("got %+v", got)
	}
}
