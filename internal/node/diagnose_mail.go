package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// testTimeout bounds the conversation with the node's own Postfix.
const testTimeout = 20 * time.Second

// SendTest implements [nodeapi.Diagnostics]: the node's own Postfix takes a message from this host, signs it as any other, and
// sends it to wherever it belongs.
func (d *diagnostician) SendTest(ctx context.Context, request fleet.TestRequest) (*fleet.TestMessage, error) {
	message, err := d.testMessage(request)
	if err != nil {
		return nil, err
	}
	if !d.tests.Allow() {
		d.metrics.tests.WithLabelValues("limited").Inc()
		return nil, fleet.Errorf(fleet.CodeTooMany, "this node has sent several test messages within the last minute: wait a few seconds")
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	if err := d.submit(ctx, message); err != nil {
		d.metrics.tests.WithLabelValues("refused").Inc()
		return nil, fleet.Errorf(fleet.CodeUnavailable, "Postfix did not take the test message: %v", err)
	}
	d.metrics.tests.WithLabelValues("sent").Inc()
	d.log.Info("test message sent", zap.String("queue_id", message.QueueID), zap.String("to", message.To), zap.String("by", clip(request.By)))
	return message, nil
}

// testMessage checks the addresses: they become SMTP commands and header fields.
func (d *diagnostician) testMessage(request fleet.TestRequest) (*fleet.TestMessage, error) {
	c := d.node.live.Load().config
	from := request.From
	if from == "" {
		from = c.Diagnose.TestSender
	}
	if domains := sendingDomains(c, d.node.keys.life.Keys().Keys); from == "" && len(domains) > 0 {
		from = "postmaster@" + domains[0]
	}
	if from == "" {
		return nil, fleet.Invalid("from", "this node sends for no domain that is known: name a sender, or set diagnose.test_sender")
	}
	for _, one := range []struct{ field, address string }{{"to", request.To}, {"from", from}} {
		parsed, err := mail.ParseAddress(one.address)
		if err != nil || parsed.Address != one.address || strings.ContainsAny(one.address, " \t\r\n<>\"\\,;:") || len(one.address) > 254 {
			return nil, fleet.Invalid(one.field, "%.80q is not an address", one.address)
		}
		for _, b := range []byte(one.address) {
			if b >= 0x80 {
				return nil, fleet.Invalid(one.field, "test messages go to ASCII addresses only")
			}
		}
	}
	return &fleet.TestMessage{Node: d.node.name, From: from, To: request.To, Sent: d.now().UTC(),
		MessageID: "postfleet-test." + d.node.name + "." + strings.ToLower(rand.Text()) + "@" + fleet.AddressDomain(from)}, nil
}

// submit speaks SMTP with the node's own Postfix.
func (d *diagnostician) submit(ctx context.Context, m *fleet.TestMessage) error {
	address := string(d.node.live.Load().config.Postfix.SMTPAddress)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	client, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		return err
	}
	if err := client.Hello("localhost"); err != nil {
		return err
	}
	notify := ""
	if offered, _ := client.Extension("DSN"); offered {
		notify = " NOTIFY=SUCCESS,FAILURE,DELAY"
	}
	text := client.Text
	for _, one := range []struct {
		command string
		code    int
	}{{"MAIL FROM:<" + m.From + ">", 250}, {"RCPT TO:<" + m.To + ">" + notify, 25}, {"DATA", 354}} {
		if _, err := say(text, one.code, one.command); err != nil {
			return err
		}
	}
	body := text.DotWriter()
	_, err = body.Write(d.testText(m))
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	_, m.Reply, err = text.ReadResponse(250)
	if err != nil {
		return err
	}
	if _, id, found := strings.Cut(m.Reply, "queued as "); found {
		m.QueueID, _, _ = strings.Cut(strings.TrimSpace(id), " ")
	}
	_ = client.Quit() // the message is taken already
	return nil
}

func say(text *textproto.Conn, code int, command string) (string, error) {
	if err := text.PrintfLine("%s", command); err != nil {
		return "", err
	}
	_, answer, err := text.ReadResponse(code)
	return answer, err
}

// testText is the message: what somebody who gets it by mistake has to know is in it.
func (d *diagnostician) testText(m *fleet.TestMessage) []byte {
	var out bytes.Buffer
	var addresses []string
	for _, e := range d.egress() {
		addresses = append(addresses, e.Address)
	}
	for _, field := range [][2]string{{"Date", m.Sent.Format(time.RFC1123Z)}, {"From", "<" + m.From + ">"}, {"To", "<" + m.To + ">"},
		{"Subject", "Test message from node " + d.node.name}, {"Message-ID", "<" + m.MessageID + ">"}, {"X-Postfleet-Test", d.node.name},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=us-ascii"}} {
		fmt.Fprintf(&out, "%s: %s\r\n", field[0], field[1])
	}
	fmt.Fprintf(&out, "\r\nAn administrator sent this message from the mail server %s to see how it arrives.\r\nNothing needs to be done.\r\n\r\n"+
		"node: %s\r\naddresses: %s\r\nsent: %s\r\n", d.node.o.Hostname, d.node.name, strings.Join(addresses, ", "), m.Sent.Format(time.RFC3339))
	return out.Bytes()
}
