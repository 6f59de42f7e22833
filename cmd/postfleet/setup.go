package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/relay"
	"github.com/postfleet/postfleet/internal/setup"
)

// setupFlags are what postfleet setup is told.
type setupFlags struct {
	config  string
	capture string
	yes     bool
	undo    bool
	asJSON  bool
}

func newSetup() *cobra.Command {
	var flags setupFlags
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Show what Postfix needs as a diff of its configuration, and with --yes apply it",
		Long: `Show what Postfix needs as a diff of its configuration, and with --yes apply it.

Postfix is told of the milter, behind those that it has; to log its outbound conversations; and, where the node's configuration
has relay.enabled, of the other nodes' way in and out; where it has not, Postfix no longer asks for them. The files are replaced
only when postfix check takes the result, and kept as they were below the repository's directory. Nothing is done twice. --undo
takes out what is postfleet's and leaves the rest, also what came later.

Where Postfix signs in to a relay, conversations are not captured unless --capture=on says so: Postfix would write the
passwords that it looks up into its log.`,
		Example: "  postfleet setup\n  postfleet setup --yes\n  postfleet setup --undo --yes",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runSetup(cmd, &flags) },
	}
	configFlag(cmd, &flags.config, milterConfig, "configuration of the node")
	cmd.Flags().StringVar(&flags.capture, "capture", "auto", "log outbound conversations: auto, on or off")
	cmd.Flags().BoolVarP(&flags.yes, "yes", "y", false, "apply the change")
	cmd.Flags().BoolVar(&flags.undo, "undo", false, "take out what is postfleet's")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print the change as JSON")
	return cmd
}

// setupAnswer is what --json prints.
type setupAnswer struct {
	Changed bool     `json:"changed"` // there is something to change, or was
	Applied bool     `json:"applied"`
	Diff    string   `json:"diff"`
	Notes   []string `json:"notes"`
}

func runSetup(cmd *cobra.Command, flags *setupFlags) error {
	c, err := config.LoadMilter(flags.config)
	if err != nil {
		return usageError{err}
	}
	want, err := wanted(c, flags.capture)
	if err != nil {
		return usageError{err}
	}
	plan := setup.Wire
	if flags.undo {
		plan = setup.Unwire
	}
	change, err := plan(cmd.Context(), string(c.Postfix.ConfigDir), want)
	if err != nil {
		return err
	}
	if flags.yes {
		if err := applySetup(cmd.Context(), change, c, flags.undo); err != nil {
			return err
		}
	}
	if flags.asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(setupAnswer{Changed: len(change.Files) > 0, Applied: flags.yes && len(change.Files) > 0,
			Diff: change.Diff(), Notes: append([]string{}, change.Notes...)})
	}
	return tellSetup(cmd.OutOrStdout(), change, flags)
}

func tellSetup(out io.Writer, change *setup.Plan, flags *setupFlags) error {
	var text strings.Builder
	text.WriteString(change.Diff())
	for _, note := range change.Notes {
		fmt.Fprintf(&text, "note: %s\n", note)
	}
	switch {
	case len(change.Files) == 0 && flags.undo:
		text.WriteString("nothing of postfleet is in Postfix's configuration\n")
	case len(change.Files) == 0:
		text.WriteString("Postfix has all that it needs\n")
	case flags.yes:
		text.WriteString("done; a running Postfix has read it\n")
	default:
		text.WriteString("\nnothing was changed; --yes applies it\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// wanted is what this node's configuration asks of Postfix.
func wanted(c *config.Milter, capture string) (setup.Wanted, error) {
	want := setup.Wanted{Capture: setup.Capture(capture)}
	switch want.Capture {
	case setup.CaptureAuto, setup.CaptureOn, setup.CaptureOff:
	default:
		return want, fmt.Errorf("--capture=%s: expected auto, on or off", capture)
	}
	if len(c.Milter.Listen) == 0 {
		return want, errors.New("milter.listen has no socket")
	}
	address := c.Milter.Listen[0].Address
	want.Milter = asPostfixReaches(address, string(c.Postfix.QueueDir))
	want.Relay = wantedRelay(c)
	return want, nil
}

// wantedRelay is what relaying through the fleet asks of Postfix. Where it is off Postfix must not ask any more: all mail that
// leaves the site would wait for an answer.
func wantedRelay(c *config.Milter) *setup.Relay {
	socket := c.Relay.Map.Address
	want := &setup.Relay{Off: !c.Relay.Enabled, Map: relay.Table(socket.Network, socket.Address, string(c.Postfix.QueueDir))}
	for _, s := range (relay.Wiring{Gate: c.Relay.GatePort, Local: string(c.Relay.Postfix)}).Services() {
		want.Services = append(want.Services, setup.Service{Name: s.Name, Type: s.Type, Line: s.Line()})
	}
	return want
}

// asPostfixReaches writes a socket of ours as Postfix names it: one below the queue directory relative to it, which is right
// with a chroot and without (smtpd(8) runs in the queue directory).
func asPostfixReaches(address config.Endpoint, queueDir string) string {
	if address.Network != "unix" {
		return "inet:" + address.Address
	}
	if below, err := filepath.Rel(queueDir, address.Address); err == nil && !strings.HasPrefix(below, "..") {
		return "unix:" + below
	}
	return "unix:" + address.Address
}

// applySetup makes the change, and before it the directory of the socket, which the daemon may not make itself.
func applySetup(ctx context.Context, change *setup.Plan, c *config.Milter, undo bool) error {
	if os.Geteuid() != 0 {
		return errors.New("setup --yes changes Postfix's configuration: run it as root")
	}
	if !undo {
		if err := socketDir(c); err != nil {
			return err
		}
	}
	return change.Apply(ctx, filepath.Join(string(c.Repository.Dir), "postfix-before"))
}

// socketDir makes the directory of the milter's socket below Postfix's queue directory, for the package's user and Postfix's
// group. One that is there stays as it is, and so does a host without that user.
func socketDir(c *config.Milter) error {
	address := c.Milter.Listen[0].Address
	dir := filepath.Dir(address.Address)
	if address.Network != "unix" || filepath.Dir(dir) != filepath.Clean(string(c.Postfix.QueueDir)) {
		return nil
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	owner, err := user.Lookup("postfleet")
	if err != nil {
		return nil //nolint:nilerr // not installed from a package: whoever runs the daemon makes the directory
	}
	group, err := user.LookupGroup("postfix")
	if err != nil {
		return fmt.Errorf("directory of the milter's socket: %w", err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return fmt.Errorf("directory of the milter's socket: %w", err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}
