package browser_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func site(t *testing.T, change ...func(*fakefleet.Options)) *fakefleet.Site {
	t.Helper()
	o := fakefleet.Options{Dir: t.TempDir(), Messages: 600, Log: zap.NewNop()}
	for _, one := range change {
		one(&o)
	}
	s, err := fakefleet.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestDrive(t *testing.T) {
	s := site(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	err := browser.Drive(ctx, browser.Stack{
		URL: s.URL, User: fakefleet.User, Password: fakefleet.Password, Sender: "orders@shop.example",
		Send: func(_ context.Context, subject string) error {
			s.Arrive("mx1", func(m *fleet.Message) { m.Subject = subject })
			return nil
		},
		Stop: func(context.Context) (string, error) {
			s.Nodes["mx3"].SetDown(errors.New("connection refused"))
			return "mx3", nil
		},
	})
	if errors.Is(err, browser.ErrNoChromium) {
		t.Skip("SKIPPED: no chromium on this host; the pages were not looked at")
	}
	if err != nil {
		t.Fatal(err)
	}
}
