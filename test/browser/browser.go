// Package browser drives the pages in Debian's Chromium, as a person would: it signs in, filters, pages, reads, and
// watches rows arrive. The same steps run over a fleet in memory here and over real nodes in the acceptance test.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// ErrNoChromium tells that there is no browser on this host.
var ErrNoChromium = errors.New("no chromium on PATH")

// patience is how long a page may take to show what a step waits for.
const patience = 20 * time.Second

// Browser is a running Chromium with a profile of its own. It is for one goroutine.
type Browser struct {
	ctx     context.Context
	cancel  func()
	watched sync.WaitGroup

	mu       sync.Mutex
	problems []string
}

// Start runs a headless Chromium; Close ends it.
func Start(ctx context.Context) (*Browser, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, ErrNoChromium
	}
	profile, err := os.MkdirTemp("", "postfleet-browser")
	if err != nil {
		return nil, fmt.Errorf("make browser profile: %w", err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.IgnoreCertErrors, // a test's page has a certificate of its own making
	}
	allocated, stop := chromedp.NewExecAllocator(ctx, options...)
	tab, cancel := chromedp.NewContext(allocated)
	b := &Browser{ctx: tab}
	b.cancel = func() {
		ending, done := context.WithTimeout(tab, patience)
		_ = chromedp.Cancel(ending) // what can't end gracefully is ended by the next lines
		done()
		cancel()
		stop()
		b.watched.Wait()
		_ = os.RemoveAll(profile) // a temporary directory
	}
	if err := chromedp.Do(tab); err != nil {
		b.cancel()
		return nil, fmt.Errorf("start chromium: %w", err)
	}
	messages := chromedp.Console(tab)
	b.watched.Go(func() {
		for message, err := range messages {
			if err != nil {
				return
			}
			b.listen(&message)
		}
	})
	return b, nil
}

// Close ends Chromium and removes its profile.
func (b *Browser) Close() { b.cancel() }

// listen collects what a page must never cause: script errors, console errors, violations of the content security policy.
func (b *Browser) listen(m *chromedp.ConsoleMessage) {
	if !m.IsException() && m.Type != "error" {
		return
	}
	// Chromium writes an entry for every answer of 400 and more, and for a stream that ends with its page: both are
	// part of the steps.
	if m.Source == "network" && (strings.Contains(m.Text, "the server responded with a status of") || strings.Contains(m.Text, "net::ERR_ABORTED")) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, fmt.Sprintf("%s %s: %s (%s)", m.Source, m.Type, m.Text, m.URL))
}

// Problems are the errors that pages caused since the last call.
func (b *Browser) Problems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.problems
	b.problems = nil
	return all
}

// Do runs actions and gives up after patience.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// Window sets the size of the page in CSS pixels, and light or dark colours.
func (b *Browser) Window(width, height int64, dark bool) error {
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	colours := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	})
	if err := b.Do(chromedp.EmulateViewport(width, height), colours); err != nil {
		return fmt.Errorf("set window: %w", err)
	}
	return nil
}

// Zone sets the time zone of the viewer.
func (b *Browser) Zone(name string) error {
	return b.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
		return err
	}))
}

// Scripts lets pages run scripts, or not. What a test itself evaluates runs all the same.
func (b *Browser) Scripts(run bool) error {
	return b.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !run})
		return err
	}))
}

// Open goes to an address.
func (b *Browser) Open(url string) error {
	if err := b.Do(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("#main"))); err != nil {
		return fmt.Errorf("open %s: %w", url, err)
	}
	return nil
}

// Until waits for a JavaScript expression to be true on a page that has loaded, over navigations too.
func (b *Browser) Until(what, expression string) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && Boolean(`+expression+")"))
		if err == nil && yes {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not so after %s (%w)%s", what, patience, errors.Join(ctx.Err(), err), b.saw())
		}
	}
}

// Text is what an expression answers.
func (b *Browser) Text(expression string) (string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
}

// Run runs JavaScript.
func (b *Browser) Run(script string) error { return b.Do(chromedp.Evaluate[chromedp.Void](script)) }

// Click clicks the first element that fits a CSS selector.
func (b *Browser) Click(selector string) error {
	if err := b.Do(chromedp.Click(chromedp.CSS(selector))); err != nil {
		return fmt.Errorf("click %s: %w%s", selector, err, b.saw())
	}
	return nil
}

// Picture is the whole page as PNG, or as much of it as the window shows.
func (b *Browser) Picture(whole bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if whole {
		return chromedp.Run(ctx, chromedp.FullScreenshot(100))
	}
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}

// saw tells what was on the page when a step failed.
func (b *Browser) saw() string {
	text, err := b.Text(`location.href + "\n" + document.body.innerText.slice(0, 700)`)
	if err != nil {
		return ""
	}
	return "\nthe page was: " + text
}

// Press presses keys, one after the other, wherever the focus is.
func (b *Browser) Press(keys ...string) error {
	for _, key := range keys {
		if err := b.Do(chromedp.KeyEvent(key)); err != nil {
			return fmt.Errorf("press %q: %w", key, err)
		}
	}
	return nil
}

// SignIn fills in the sign-in form.
func (b *Browser) SignIn(base, user, password string) error {
	if err := b.Open(base + "/login"); err != nil {
		return err
	}
	if err := b.fillIn(user, password); err != nil {
		return err
	}
	return b.Until("somebody is signed in", `document.querySelector('form[action="/logout"]')`)
}

func (b *Browser) fillIn(user, password string) error {
	empty := chromedp.Evaluate[chromedp.Void](`document.getElementById("user").value = ""`)
	if err := b.Do(empty, chromedp.SendKeys(chromedp.CSS("#user"), user), chromedp.SendKeys(chromedp.CSS("#password"), password+kb.Enter)); err != nil {
		return fmt.Errorf("fill in the sign-in form: %w", err)
	}
	return nil
}
