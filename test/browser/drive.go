package browser

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Stack is a running aggregator with nodes behind it, and what a test can do to them.
type Stack struct {
	URL, User, Password string
	// Sender has sent more than ten messages, at least one of them delivered over SMTP, and is not the only sender.
	Sender string
	// Send brings a new message of this subject in at some node.
	Send func(ctx context.Context, subject string) error
	// Stop ends a node for good and tells its name.
	Stop func(ctx context.Context) (node string, err error)
}

// Drive does with the pages what an administrator does in a day: it signs in, filters, pages, opens a message, reads a
// transcript, sees rows arrive, looks at every page in light and dark and on a phone, and sees a stopped node named. The
// error says which step went wrong and what was on the page.
func Drive(ctx context.Context, s Stack) error {
	b, err := Start(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	for _, step := range []struct {
		name string
		do   func(context.Context, *Browser) error
	}{
		{"sign in", s.signIn}, {"filter", s.filter}, {"page", s.page}, {"open a message by keyboard", s.open},
		{"read a transcript", s.read}, {"see a row arrive", s.arrive}, {"pause", s.pause}, {"look at every page", s.look},
		{"see a stopped node named", s.away},
	} {
		if err := step.do(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if problems := b.Problems(); len(problems) > 0 {
			return fmt.Errorf("%s: the page caused errors: %s", step.name, strings.Join(problems, "; "))
		}
	}
	return nil
}

func (s Stack) signIn(_ context.Context, b *Browser) error {
	if err := b.Window(1440, 900, false); err != nil {
		return err
	}
	if err := b.Open(s.URL + "/messages"); err != nil {
		return err
	}
	if err := b.Until("a visitor is sent to the sign-in page", `location.pathname === "/login"`); err != nil {
		return err
	}
	if err := b.fillIn(s.User, "not the password"); err != nil {
		return err
	}
	if err := b.Until("a wrong password is refused with a reason", `document.querySelector("[role=alert]")`); err != nil {
		return err
	}
	if problems, err := b.Axe(); err != nil || len(problems) > 0 {
		return fmt.Errorf("sign-in page: %s %w", strings.Join(problems, "; "), err)
	}
	return b.SignIn(s.URL, s.User, s.Password)
}

func (s Stack) filter(_ context.Context, b *Browser) error {
	if err := b.Open(s.URL + "/messages"); err != nil {
		return err
	}
	if err := b.Do(chromedp.SendKeys(chromedp.CSS("#f-sender"), s.Sender+kb.Enter)); err != nil {
		return err
	}
	if err := b.Until("the filter is in the address and a chip", fmt.Sprintf(`new URL(location).searchParams.get("sender") === %q && document.querySelector(".chip")`, s.Sender)); err != nil {
		return err
	}
	if err := b.Until("only rows of that sender are left", fmt.Sprintf(`document.querySelector("#rows tr") &&
		[...document.querySelectorAll("#rows .c-from")].every(td => td.textContent.includes(%q))`, s.Sender)); err != nil {
		return err
	}
	if err := b.Click(".chip"); err != nil {
		return err
	}
	return b.Until("the filter is gone with its chip", `!new URL(location).searchParams.has("sender") && !document.querySelector(".chip")
		&& new Set([...document.querySelectorAll("#rows .c-from")].map(td => td.textContent)).size > 1`)
}

func (s Stack) page(_ context.Context, b *Browser) error {
	if err := b.Open(s.URL + "/messages?limit=10&sender=" + s.Sender); err != nil {
		return err
	}
	if err := b.Until("the first page is there", `document.querySelectorAll("#rows tr").length === 10`); err != nil {
		return err
	}
	if err := b.Click("[data-next]"); err != nil {
		return err
	}
	return b.Until("older rows join the list, each once, still newest first", `(() => {
		const ids = [...document.querySelectorAll("#rows tr")].map(tr => BigInt(tr.dataset.id));
		return ids.length > 10 && new Set(ids).size === ids.length && ids.every((id, i) => i === 0 || ids[i - 1] > id);
	})()`)
}

func (s Stack) open(_ context.Context, b *Browser) error {
	if err := b.Open(s.URL + "/messages"); err != nil {
		return err
	}
	if err := b.Press("j", "j", "k"); err != nil {
		return err
	}
	if err := b.Until("the first row has the focus", `document.activeElement === document.querySelector("#rows a.open")`); err != nil {
		return err
	}
	if err := b.Press(kb.Enter); err != nil {
		return err
	}
	if err := b.Until("the message is open", `document.querySelector(".msghead h1") && document.querySelector(".facts")`); err != nil {
		return err
	}
	if err := b.Press("u"); err != nil {
		return err
	}
	return b.Until("the list is back", `document.querySelector("#rows tr")`)
}

func (s Stack) read(_ context.Context, b *Browser) error {
	if err := b.Open(s.URL + "/messages?view=good&sender=" + s.Sender); err != nil {
		return err
	}
	if err := b.Click("#rows a.open"); err != nil {
		return err
	}
	if err := b.Until("both conversations are there, with where they come from", `document.querySelector(".transcript.inbound .badge") &&
		document.querySelector(".transcript.outbound .badge") && document.querySelector(".fetched").textContent.includes("fetched live from")`); err != nil {
		return err
	}
	return b.Until("the client's words and the server's answer can be read", `(() => {
		const says = (who, what) => [...document.querySelectorAll(".outbound .says-" + who + " .say")].some(el => what.test(el.innerText));
		return says("client", /^MAIL FROM:</) && says("client", /^RCPT TO:</) && says("server", /^250 /);
	})()`)
}

func (s Stack) arrive(ctx context.Context, b *Browser) error {
	if err := s.liveList(b); err != nil {
		return err
	}
	if err := b.Run(`window.stayed = true`); err != nil {
		return err
	}
	if err := s.Send(ctx, "arrives by itself"); err != nil {
		return err
	}
	return b.Until("the new row is there without a reload", `window.stayed && document.querySelector("#rows").textContent.includes("arrives by itself")`)
}

// liveList opens the list and waits until rows can arrive.
func (s Stack) liveList(b *Browser) error {
	if err := b.Open(s.URL + "/messages"); err != nil {
		return err
	}
	return b.Until("the list is live", `document.querySelector("[data-live-state]").textContent === "live"`)
}

func (s Stack) pause(ctx context.Context, b *Browser) error {
	if err := s.liveList(b); err != nil {
		return err
	}
	if err := b.Press("p"); err != nil {
		return err
	}
	if err := b.Until("the list says that it is paused", `document.querySelector("[data-live-state]").textContent === "paused"`); err != nil {
		return err
	}
	if err := s.Send(ctx, "waits for its turn"); err != nil {
		return err
	}
	if err := b.Until("the waiting row is counted and not shown", `!document.querySelector("[data-live-new]").hidden &&
		!document.querySelector("#rows").textContent.includes("waits for its turn")`); err != nil {
		return err
	}
	if err := b.Click("[data-live-new]"); err != nil {
		return err
	}
	return b.Until("the row is shown", `document.querySelector("#rows").textContent.includes("waits for its turn")`)
}

// look visits every page in both colours and on a phone, and lets axe-core judge each.
func (s Stack) look(_ context.Context, b *Browser) error {
	if err := b.Open(s.URL + "/messages?view=good"); err != nil {
		return err
	}
	message, err := b.Text(`document.querySelector("#rows a.open").getAttribute("href")`)
	if err != nil {
		return err
	}
	for _, form := range []struct {
		name  string
		width int64
		dark  bool
	}{{"light", 1440, false}, {"dark", 1440, true}, {"phone", 390, false}} {
		if err := b.Window(form.width, 900, form.dark); err != nil {
			return err
		}
		for _, path := range []string{"/", "/messages", "/messages?view=bounced&since=yesterday", "/messages?sender=nobody@nowhere.example",
			message, message + "/transcripts", "/trace?limit=5&since=30d&sender=" + s.Sender, "/trace?sender=nobody@nowhere.example", "/nodes", "/help", "/nothing"} {
			if err := s.judge(b, path, form.name, form.width); err != nil {
				return err
			}
		}
	}
	return b.Window(1440, 900, false)
}

func (s Stack) judge(b *Browser, path, form string, width int64) error {
	if err := b.Open(s.URL + path); err != nil {
		return err
	}
	if path == "/" {
		if err := b.Until("the chart is drawn", `document.querySelector("#volume-chart canvas") || !document.querySelector("#volume")`); err != nil {
			return err
		}
	}
	problems, err := b.Axe()
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s (%s): axe-core: %s", path, form, strings.Join(problems, "; "))
	}
	wide, err := b.Text(`document.documentElement.scrollWidth`)
	if err != nil {
		return err
	}
	if pixels, err := strconv.ParseInt(wide, 10, 64); err != nil || pixels > width {
		return fmt.Errorf("%s (%s): the page is %s wide in a window of %d: %w", path, form, wide, width, errors.Join(err, errWide))
	}
	return nil
}

var errWide = errors.New("it must not scroll sideways")

func (s Stack) away(ctx context.Context, b *Browser) error {
	node, err := s.Stop(ctx)
	if err != nil {
		return err
	}
	named := func(selector string) string {
		return fmt.Sprintf(`[...document.querySelectorAll(%q)].some(el => el.innerText.includes(%q) && el.innerText.includes("not answer"))`, selector, node)
	}
	for _, one := range []struct{ path, selector string }{{"/messages", ".notice"}, {"/", ".notice"}, {"/nodes", ".card.bad"}} {
		if err := b.Open(s.URL + one.path); err != nil {
			return err
		}
		if err := b.Until(node+" is named as away on "+one.path, named(one.selector)); err != nil {
			return err
		}
	}
	problems, err := b.Axe()
	if err != nil || len(problems) > 0 {
		return fmt.Errorf("nodes page: axe-core: %s %w", strings.Join(problems, "; "), err)
	}
	return nil
}
