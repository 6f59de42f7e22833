// Command serve serves the pages over a fleet in memory, so that a change to them can be looked at without Postfix:
//
//	go run ./test/browser/fakefleet/serve
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/test/browser/fakefleet"
)

func main() {
	messages := flag.Int("messages", 4000, "messages of the last two days")
	down := flag.String("down", "mx4", "node that does not answer")
	every := flag.Duration("every", 4*time.Second, "how often mail comes in")
	flag.Parse()
	if err := run(*messages, *down, *every); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(messages int, down string, every time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "fakefleet")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	site, err := fakefleet.Start(fakefleet.Options{Dir: dir, Messages: messages, Relay: true, Down: down, Log: zap.NewNop()})
	if err != nil {
		return err
	}
	fmt.Printf("%s/messages\nuser %s, password %s\n", site.URL, fakefleet.User, fakefleet.Password)
	site.Lively(ctx, every)
	return site.Stop()
}
