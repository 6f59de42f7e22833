// Command bench compares postfleet with what it stands beside: Postfix without a milter, with OpenDKIM, and with rspamd
// doing nothing but DKIM signatures. All run at once and take turns, so that a change of the machine's mood hits each
// alike; what is worth keeping are the ratios. docs/benchmarks.md tells the method.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

type options struct {
	postfleet string
	messages  int
	rounds    int
	large     int
	only      string
	skipMail  bool
	skipPage  bool
}

func main() {
	var opts options
	flag.StringVar(&opts.postfleet, "postfleet", "bin/postfleet", "path of the binary to measure")
	flag.IntVar(&opts.messages, "messages", 2000, "messages of 4 KiB a turn")
	flag.IntVar(&opts.rounds, "rounds", 5, "turns of each")
	flag.IntVar(&opts.large, "large", 8, "messages of 25 MB for the memory figures")
	flag.StringVar(&opts.only, "only", "", "comma-separated `names` of contestants besides bare and opendkim; all when empty")
	flag.BoolVar(&opts.skipMail, "skip-mail", false, "leave out what runs through Postfix")
	flag.BoolVar(&opts.skipPage, "skip-page", false, "leave out the first page of the list")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, opts, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options, out io.Writer) error {
	began := time.Now()
	binary, err := filepath.Abs(opts.postfleet)
	if err != nil {
		return err
	}
	if !opts.skipMail {
		if err := benchMail(ctx, binary, opts, out); err != nil {
			return err
		}
	}
	if !opts.skipPage {
		if err := benchFirstPage(ctx, binary, out); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\ntook %s\n", time.Since(began).Round(time.Second))
	return nil
}

func benchMail(ctx context.Context, binary string, opts options, out io.Writer) (err error) {
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := l.Close(); err == nil {
			err = closeErr
		}
	}()
	contestants, err := startContestants(ctx, l, binary, opts.only)
	if err != nil {
		l.DumpLogs(os.Stderr, 3000)
		return err
	}
	for _, c := range contestants {
		if err := c.proveSigned(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for round := range opts.rounds + 1 {
		for _, c := range contestants {
			turn, err := c.turn(ctx, opts.messages)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 { // the first one warms up
				c.turns = append(c.turns, turn)
			}
		}
	}
	for _, c := range contestants {
		if c.small, err = c.memory(); err != nil {
			return err
		}
		if err := c.sendLarge(ctx, opts.large); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if c.largePeak, err = c.memory(); err != nil {
			return err
		}
	}
	if err := reportMail(out, contestants, opts); err != nil {
		return err
	}
	return benchParser(out, contestants)
}
