// Command pictures takes pictures of every page over a fleet in memory, for docs/images and for looking at a change:
//
//	go run ./test/browser/pictures DIR
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: pictures DIR [PAGE…]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// shot is a page to take.
type shot struct{ name, path, do string }

func run(dir string, only []string) error {
	temp, err := os.MkdirTemp("", "fakefleet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // a temporary directory
	site, err := fakefleet.Start(fakefleet.Options{Dir: temp, Messages: 4000, Down: "mx4", Log: zap.NewNop()})
	if err != nil {
		return err
	}
	defer func() { _ = site.Stop() }() // the process ends
	b, err := browser.Start(context.Background())
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Window(1440, 900, false); err != nil {
		return err
	}
	if err := b.Open(site.URL + "/login"); err != nil {
		return err
	}
	if err := take(b, dir, "signin", only); err != nil {
		return err
	}
	if err := b.SignIn(site.URL, fakefleet.User, fakefleet.Password); err != nil {
		return err
	}
	for _, one := range shots(site) {
		if len(only) > 0 && !strings.Contains(strings.Join(only, " "), one.name) {
			continue
		}
		if err := b.Open(site.URL + one.path); err != nil {
			return err
		}
		if one.do != "" {
			if err := b.Run(one.do); err != nil {
				return err
			}
		}
		if err := take(b, dir, one.name, only); err != nil {
			return err
		}
	}
	return nil
}

func shots(site *fakefleet.Site) []shot {
	link := func(node string, fits func(*fleet.Message) bool) string { return site.Find(node, fits) }
	captured := link("mx1", func(m *fleet.Message) bool { return m.Fate() == fleet.FateDelivered && len(m.Recipients) == 1 })
	return []shot{
		{"messages", "/messages", ""},
		{"filtered", "/messages?sender=shop.example&status=delivered&since=24h", ""},
		{"wrong", "/messages?since=yesterday&recipient=ab&subject=order", ""},
		{"empty", "/messages?sender=nobody@nowhere.example", ""},
		{"queue", "/messages?view=queue", ""},
		{"message", captured, ""},
		{"bounced", link("mx1", func(m *fleet.Message) bool { return m.Fate() == fleet.FatePartly }), ""},
		{"deferred", link("mx2", func(m *fleet.Message) bool {
			return m.Fate() == fleet.FateDeferred && len(m.Recipients[0].Attempts) > 1
		}), ""},
		{"hostile", link("mx1", func(m *fleet.Message) bool { return strings.Contains(m.Subject, "script") }), ""},
		{"rejected", link("mx1", func(m *fleet.Message) bool { return m.Fate() == fleet.FateRejected }), ""},
		{"reconstructed", link("mx3", func(m *fleet.Message) bool { return m.Fate() == fleet.FateDelivered && len(m.Recipients) == 1 }), ""},
		{"away", strings.Replace(captured, "mx1", "mx4", 1), ""},
		{"overview", "/", ""},
		{"nodes", "/nodes", ""},
		{"help", "/messages", "document.querySelector('[data-help]').click()"},
		{"missing", "/nothing", ""},
	}
}

func take(b *browser.Browser, dir, name string, only []string) error {
	if len(only) > 0 && !strings.Contains(strings.Join(only, " "), name) {
		return nil
	}
	for _, form := range []struct {
		suffix string
		width  int64
		height int64
		dark   bool
	}{{"light", 1440, 900, false}, {"dark", 1440, 900, true}, {"phone", 390, 1200, false}} {
		if err := b.Window(form.width, form.height, form.dark); err != nil {
			return err
		}
		time.Sleep(400 * time.Millisecond) // charts and animations come to rest
		png, err := b.Picture(form.width > 600)
		if err != nil {
			return fmt.Errorf("picture of %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+"-"+form.suffix+".png"), png, 0o644); err != nil {
			return err
		}
	}
	return b.Window(1440, 900, false)
}
