package lab

import (
	"context"
	"fmt"
	"strings"
)

// SinkOptions say how a remote server behaves. The zero value takes everything.
type SinkOptions struct {
	Name string
	// SoftFail, HardFail and Drop name the SMTP commands that are answered with 4xx, with 5xx, or with the end of the
	// connection: CONNECT, HELO, EHLO, MAIL, RCPT, DATA, "." (smtp-sink(1), -r, -f and -q).
	SoftFail []string
	HardFail []string
	Drop     []string
	// SoftReply and HardReply replace smtp-sink's wording.
	SoftReply string
	HardReply string
	Args      []string // further arguments of smtp-sink
}

// StartSink runs an smtp-sink(1), Postfix's own test server, and returns its HOST:PORT.
func (l *Lab) StartSink(ctx context.Context, opts SinkOptions) (string, error) {
	addr, err := FreeAddr("127.0.0.1")
	if err != nil {
		return "", err
	}
	args := []string{"-u", "postfix", "-h", opts.Name}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("-r", strings.Join(opts.SoftFail, ","))
	add("-f", strings.Join(opts.HardFail, ","))
	add("-q", strings.Join(opts.Drop, ","))
	add("-b", opts.SoftReply)
	add("-B", opts.HardReply)
	args = append(append(args, opts.Args...), addr, "1000")
	process, err := l.Start("sink-"+opts.Name, "smtp-sink", args...)
	if err != nil {
		return "", err
	}
	if err := process.Ready(ctx, Listens("tcp", addr)); err != nil {
		return "", fmt.Errorf("start sink %s: %w", opts.Name, err)
	}
	return addr, nil
}
