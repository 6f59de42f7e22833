package nodeapi_test

import (
	"context"
	"os"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// silent is a store with nothing in it.
type silent struct{}

// began is called when somebody subscribes.
var began = func() {}

func (silent) Messages(context.Context, fleet.Query) (*fleet.Page, error) { return &fleet.Page{}, nil }
func (silent) Message(_ context.Context, id fleet.MessageID) (*fleet.Message, error) {
	return nil, fleet.Errorf(fleet.CodeNotFound, "no message %s", id)
}
func (silent) Transcripts(context.Context, fleet.MessageID) ([]fleet.Transcript, error) {
	return nil, nil
}
func (silent) Stats(context.Context, fleet.StatsQuery) (*fleet.Stats, error) {
	return &fleet.Stats{}, nil
}
func (silent) Subscribe(context.Context) <-chan fleet.Change {
	began()
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
