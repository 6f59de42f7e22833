// Command demo shows the main job on one machine: three real Postfix instances with a node daemon each, remote servers
// that take mail, defer it, refuse it and hang up, and one aggregator whose page it all ends on. It stays until Ctrl-C
// and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// startLimit bounds the start; a warm one takes seconds.
const startLimit = 2 * time.Minute

type options struct {
	postfleet string
	listen    string
	consul    bool
	ready     string
	trickle   time.Duration
}

func main() {
	var opts options
	flag.StringVar(&opts.postfleet, "postfleet", "bin/postfleet", "path of the binary to show")
	flag.StringVar(&opts.listen, "listen", "127.0.0.1:8527", "`address` of the page; another port is taken when it is in use")
	flag.BoolVar(&opts.consul, "consul", false, "run a real Consul server instead of a static list of nodes")
	flag.StringVar(&opts.ready, "ready", "", "write address, user, password and token to this `file` when all is up")
	flag.DurationVar(&opts.trickle, "trickle", 3*time.Second, "about how often new mail is sent")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, opts, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options, out io.Writer) (err error) {
	binary, err := filepath.Abs(opts.postfleet)
	if err != nil {
		return err
	}
	began := time.Now()
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(out, "\nstopping ...")
		if ctx.Err() == nil {
			l.DumpLogs(os.Stderr, 2000)
		}
		err = errors.Join(err, l.Close())
	}()
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	routes, err := startRemotes(starting, l)
	if err != nil {
		return interrupted(ctx, err)
	}
	fleet, err := l.StartFleet(starting, lab.FleetOptions{Binary: binary, Domains: senderDomains, Routes: routes,
		Users: map[string]string{submitter: "demo"}, Retry: 20 * time.Second, Consul: opts.consul, Listen: opts.listen})
	if err != nil {
		return interrupted(ctx, err)
	}
	traffic := newTraffic(fleet)
	if err := traffic.burst(starting); err != nil {
		return interrupted(ctx, err)
	}
	announce(out, fleet, binary, time.Since(began))
	if opts.ready != "" {
		a := fleet.Aggregator
		if err := os.WriteFile(opts.ready, fmt.Appendf(nil, "%s\n%s\n%s\n%s\n", a.URL, a.User, a.Password, a.Token), 0o600); err != nil {
			return err
		}
	}
	return interrupted(ctx, traffic.trickle(ctx, opts.trickle))
}

// interrupted is the error, unless it came of Ctrl-C.
func interrupted(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

func announce(out io.Writer, fleet *lab.Fleet, binary string, took time.Duration) {
	a := fleet.Aggregator
	members := "a static list"
	if fleet.Agent != nil {
		members = "Consul at http://" + fleet.Agent.HTTP + "/ui/"
	}
	fmt.Fprintf(out, `
Ready after %.1f s: %d Postfix nodes, members from %s.

    %s
    user      %s
    password  %s

On the command line:

    export POSTFLEET_URL=%s POSTFLEET_TOKEN=%s
    %s tail
    %s trace --transcript %s eva@bank.example
    %s replay %s

Send mail of your own:

`, took.Seconds(), len(fleet.Nodes), members, a.URL, a.User, a.Password, a.URL, a.Token, binary, binary, newsletter, binary,
		fleet.Nodes[0].Postfix.Log)
	for _, node := range fleet.Nodes {
		fmt.Fprintf(out, "    echo hello | sendmail -C %s -f %s someone@kunde.example\n", node.Postfix.Conf, newsletter)
	}
	fmt.Fprintln(out, "\nCtrl-C ends everything and removes it.")
}
