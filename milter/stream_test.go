package milter

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// packet is one packet of the milter protocol.
func packet(code byte, data string) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return append(append(p, code), data...)
}

func stream(packets ...[]byte) []byte { return bytes.Join(packets, nil) }

// What Postfix sends when it negotiates, for a client, and for a small message.
var (
	offer   = packet(packetNegotiate, "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")
	connect = packet(packetConnect, "client.example.org\x004\xc8\x14192.0.2.7\x00")
	helo    = packet(packetHelo, "client.example.org\x00")
	mailCmd = packet(packetMail, "<a@example.com>\x00SIZE=10\x00")
	rcptCmd = packet(packetRcpt, "<b@example.net>\x00")
	header  = packet(packetHeader, "From\x00 a@example.com\x00")
	eoh     = packet(packetEOH, "")
	chunk   = packet(packetBody, "hello\r\n")
	eom     = packet(packetEOM, "")
)

func goodStream() []byte {
	return stream(offer, packet(packetMacro, "Cj\x00mx\x00{daemon_name}\x00mx\x00"), connect, helo, mailCmd, rcptCmd,
		packet(packetMacro, "Ti\x004XyZ\x00"), packet(packetData, ""), header, eoh, chunk, eom, packet(packetAbort, ""),
		packet(packetQuit, ""))
}

// talk sends a stream and gives what comes back before the other end closes or the stream's end is seen.
func talk(t testing.TB, path string, sent []byte) []byte {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		_, _ = conn.Write(sent) // fails when the other end has had enough
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	got, _ := io.ReadAll(conn)
	return got
}

// serves checks that a server takes a good message.
func serves(t testing.TB, path string) {
	t.Helper()
	got := talk(t, path, goodStream())
	if !bytes.HasSuffix(got, packet('a', "")) {
		t.Fatalf("a good message is not accepted any more: answer %q", got)
	}
}
