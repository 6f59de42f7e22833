// Command pictures takes pictures of every page over a fleet in memory, for docs/images and for looking at a change:
//
//	go run ./test/browser/pictures DIR
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser"
	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

func main() {
	whole := flag.Bool("whole", false, "whole pages, not what a window shows")
	flag.Parse()
	if flag.NArg() < 1 {
		fmt.Fprintln(os.Stderr, "usage: pictures [-whole] DIR [PAGE…]")
		os.Exit(2)
	}
	if err := run(&album{dir: flag.Arg(0), only: flag.Args()[1:], whole: *whole}); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// album is where pictures go, and which.
type album struct {
	dir   string
	only  []string
	whole bool
}

func (a *album) wants(name string) bool { return len(a.only) == 0 || slices.Contains(a.only, name) }

// shot is a page to take.
type shot struct{ name, path, do string }

func run(a *album) error {
	temp, err := os.MkdirTemp("", "fakefleet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // a temporary directory
	site, err := fakefleet.Start(fakefleet.Options{Dir: temp, Messages: 4000, Relay: true, Memory: true, Down: "mx4", Log: zap.NewNop()})
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
	if err := a.take(b, "signin"); err != nil {
		return err
	}
	if err := b.SignIn(site.URL, fakefleet.User, fakefleet.Password); err != nil {
		return err
	}
	if err := a.visit(b, site.URL, shots(site)); err != nil {
		return err
	}
	return a.control(b, site)
}

// control takes the pages that change something, as an administrator sees them, and then those of a node that went away.
func (a *album) control(b *browser.Browser, site *fakefleet.Site) error {
	if err := b.Run("document.querySelector('form.who').submit()"); err != nil {
		return err
	}
	if err := b.Until("somebody signed out", `document.getElementById("password")`); err != nil {
		return err
	}
	if err := b.SignIn(site.URL, fakefleet.Admin, fakefleet.Password); err != nil {
		return err
	}
	if _, err := site.Nodes["mx2"].Drain(context.Background(), fleet.DrainOrder{On: true, By: "adam", Reason: "new kernel"}); err != nil {
		return err
	}
	err := a.visit(b, site.URL, []shot{{"relay", "/relay", ""}, {"relayask", "/relay", `document.querySelector("input[value=failover]").click(); document.querySelector(".save button").click(); 0`},
		{"drain", "/nodes/mx1/drain", ""}, {"forget", "/nodes/mx4/forget", ""}, {"draining", "/nodes", ""},
		{"diagnostics", "/diagnostics", ""}, {"hand", "/diagnostics?show=hand", ""}, {"finding", "/diagnostics/nodes/mx2/ptr", ""}, {"diagnosis", "/diagnostics/nodes/mx3", ""}, {"testmessage", "/diagnostics/test", ""}, {"keys", "/keys", ""}, {"keyorder", "/keys/order?verb=rotate&domain=shop.example&node=mx1,mx2,mx3,mx4", ""}, {"dns", "/dns", ""}})
	if err != nil {
		return err
	}
	remembered := site.Find("mx1", func(m *fleet.Message) bool { return m.Fate() == fleet.FateDelivered })
	if err := b.Open(site.URL + remembered); err != nil { // its conversations are remembered from now on
		return err
	}
	if err := site.Leave(context.Background(), "mx1"); err != nil {
		return err
	}
	return a.visit(b, site.URL, []shot{{"memory", "/messages", ""}, {"remembered", remembered, ""}, {"memorynodes", "/nodes", ""}})
}

func (a *album) visit(b *browser.Browser, base string, shots []shot) error {
	for _, one := range shots {
		if !a.wants(one.name) {
			continue
		}
		if err := b.Open(base + one.path); err != nil {
			return err
		}
		if one.do != "" {
			if err := b.Run(one.do); err != nil {
				return err
			}
		}
		if err := a.take(b, one.name); err != nil {
			return err
		}
	}
	return nil
}

func shots(site *fakefleet.Site) []shot {
	link := func(node string, fits func(*fleet.Message) bool) string { return site.Find(node, fits) }
	delivered := func(m *fleet.Message) bool {
		return m.Fate() == fleet.FateDelivered && len(m.Recipients) == 1 && m.Sender == "orders@shop.example"
	}
	carried := func(subject string) string {
		origin := func(m *fleet.Message) bool { return m.Subject == subject && !m.IsHop() }
		return cmp.Or(link("mx1", origin), link("mx2", origin))
	}
	captured := link("mx1", delivered)
	return []shot{
		{"messages", "/messages", ""},
		{"filtered", "/messages?sender=shop.example&status=delivered&since=24h", ""},
		{"refused", "/messages?since=7d&reason=" + url.QueryEscape("Greylisted, please try again in seconds (in reply to RCPT TO command)"), ""},
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
		{"reconstructed", link("mx3", delivered), ""},
		{"away", strings.Replace(captured, "mx1", "mx4", 1), ""},
		{"balance", carried("Carried by turn"), ""},
		{"failover", carried("Carried after a failure"), ""},
		{"transit", carried("Still under way"), ""},
		{"waits", carried("Waits at the carrier"), ""},
		{"notice", carried("Bounced by the carrier"), ""},
		{"carrieraway", carried("The carrier is away"), ""},
		{"forged", carried("Another mail's queue id"), ""},
		{"many", carried("Over all nodes at once"), ""},
		{"hop", site.Find("mx2", func(m *fleet.Message) bool { return m.IsHop() && m.Subject == "Carried by turn" }), ""},
		{"hops", "/messages?hops=yes&since=1h", ""},
		{"carried", "/messages?since=15m", ""},
		{"trace", "/trace?sender=@news.example&recipient=@partner.example&since=1h", ""},
		{"traced", "/trace?recipient=gone@gmail.example&since=1h", ""},
		{"neverseen", "/trace?sender=billing@shop.example&recipient=nobody@partner.example&since=6h", ""},
		{"overview", "/", ""},
		{"nodes", "/nodes", ""},
		{"help", "/messages", "document.querySelector('[data-help]').click()"},
		{"missing", "/nothing", ""},
	}
}

func (a *album) take(b *browser.Browser, name string) error {
	if !a.wants(name) {
		return nil
	}
	for _, form := range []struct {
		suffix string
		width  int64
		height int64
		dark   bool
	}{{"light", 1360, 850, false}, {"dark", 1360, 850, true}, {"phone", 390, 844, false}} {
		if err := b.Window(form.width, form.height, form.dark); err != nil {
			return err
		}
		time.Sleep(400 * time.Millisecond) // charts and animations come to rest
		png, err := b.Picture(a.whole && form.width > 600)
		if err != nil {
			return fmt.Errorf("picture of %s: %w", name, err)
		}
		if png, err = shrink(png); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(a.dir, name+"-"+form.suffix+".png"), png, 0o644); err != nil {
			return err
		}
	}
	return b.Window(1440, 900, false)
}
