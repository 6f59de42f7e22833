package mta

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Banner connects to an SMTP server and reads its greeting (RFC 5321 section 4.2): a first line that begins with 220.
// It leaves with QUIT, so that Postfix doesn't log a lost connection.
func Banner(ctx context.Context, address string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("ask Postfix for its banner: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	// postscreen may send a first line of its own and the real one seconds later (postscreen_greet_banner).
	line, err := bufio.NewReader(io.LimitReader(conn, 4096)).ReadString('\n')
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("read the banner of %s: %w", address, err)
	}
	line = strings.TrimRight(line, "\r\n")
	if !strings.HasPrefix(line, "220") {
		return "", fmt.Errorf("%s answers %q instead of a banner", address, line)
	}
	_, _ = io.WriteString(conn, "QUIT\r\n") // a courtesy: the answer is known already
	return line, nil
}
