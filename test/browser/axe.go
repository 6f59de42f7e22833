package browser

import (
	"context"
	_ "embed" // axe-core
	"fmt"

	"github.com/chromedp/chromedp"
)

// axe is axe-core by Deque Systems, under the Mozilla Public License 2.0; testdata holds its licence.
//
//go:embed testdata/axe-4.10.3.min.js
var axe string

// Axe lets axe-core judge the page as it stands and lists what it calls moderate, serious or critical.
func (b *Browser) Axe() ([]string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	// Rows that have just arrived fade in: colours are judged when they have come to rest.
	const run = `Promise.all(document.getAnimations().map(a => a.finished.catch(() => {})))
		.then(() => axe.run(document, {resultTypes: ["violations"]}))
		.then(result => result.violations.filter(v => v.impact !== "minor").map(v =>
			v.impact + " " + v.id + ": " + v.help + " at " + v.nodes.slice(0, 3).map(n => n.target.join(" ") + " (" + n.failureSummary + ")").join(", ")))`
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](axe+";0")); err != nil {
		return nil, fmt.Errorf("load axe-core: %w", err)
	}
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](run, chromedp.EvalAwaitPromise))
	if err != nil {
		return nil, fmt.Errorf("run axe-core: %w", err)
	}
	return found, nil
}
