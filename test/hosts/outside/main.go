// Command outside is the world around a fleet, on a host of its own: the name server of all domains, the server that takes
// every mail, and a client that sends as a mail server does.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "outside:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(ctx, args[1], args[2])
	case len(args) > 0 && args[0] == "send":
		return send(ctx, args[1:])
	}
	return fmt.Errorf("usage: outside serve ZONE MAILS | outside send [flags]")
}
