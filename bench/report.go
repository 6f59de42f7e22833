package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// reportMail prints the medians and the ratios to bare Postfix and to OpenDKIM. A ratio is the median of the ratios of
// each round, not the ratio of medians: what the machine did in a round it did to all.
func reportMail(out io.Writer, contestants []*contestant, opts options) error {
	bare, opendkim := contestants[0], contestants[1]
	fmt.Fprintf(out, "\nThrough Postfix: %d rounds of %d messages, 4 KiB, %d sessions, RSA-2048, unix sockets\n\n",
		opts.rounds, opts.messages, sessions)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmsg/s\tx bare\tx OpenDKIM\tCPU ms/msg\tRSS MB\tpeak MB\tpeak, 25 MB mails\t")
	for _, c := range contestants {
		rate := func(t turn) float64 { return t.rate }
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t", c.name, median(values(c, rate)), ratio(c, bare), ratio(c, opendkim))
		if c.milter == nil {
			fmt.Fprintln(w, "-\t-\t-\t-\t")
			continue
		}
		cpu := 1000 * median(values(c, func(t turn) float64 { return t.cpu }))
		fmt.Fprintf(w, "%.2f\t%d\t%d\t%d\t\n", cpu, c.small.now>>10, c.small.peak>>10, c.largePeak.peak>>10)
	}
	return w.Flush()
}

func values(c *contestant, of func(turn) float64) []float64 {
	all := make([]float64, len(c.turns))
	for i, t := range c.turns {
		all[i] = of(t)
	}
	return all
}

func ratio(a, b *contestant) float64 {
	ratios := make([]float64, len(a.turns))
	for i := range a.turns {
		ratios[i] = a.turns[i].rate / b.turns[i].rate
	}
	return median(ratios)
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	if n := len(sorted); n > 0 {
		return (sorted[(n-1)/2] + sorted[n/2]) / 2
	}
	return 0
}
