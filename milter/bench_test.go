package milter

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// BenchmarkMessage is one message of 15 header fields and 4 KiB over a unix socket, in a connection that is reused, without
// the cost of a signature. The client writes and reads in one piece each, so that the server is what is measured.
func BenchmarkMessage(b *testing.B) {
	_, path := start(b, Options{Policy: testPolicy(), Recorder: &discard{}})
	conn, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	write := func(packets []byte) {
		if _, err := conn.Write(packets); err != nil {
			b.Fatal(err)
		}
	}
	write(stream(offer, connect, helo))
	if _, _, err := readPacket(in); err != nil {
		b.Fatal(err)
	}
	message := [][]byte{packet(packetMacro, "M{auth_authen}\x00\x00"), mailCmd,
		packet(packetMacro, "Ri\x00\x00{rcpt_mailer}\x00smtp\x00{rcpt_host}\x00[x]\x00{rcpt_addr}\x00b@example.net\x00"), rcptCmd,
		packet(packetMacro, "Ti\x004XyZ\x00"), packet(packetData, ""), header}
	for i := range 14 {
		message = append(message, packet(packetHeader, fmt.Sprintf("X-Header-%d\x00 some words of a header\x00", i)))
	}
	message = append(message, eoh, packet(packetBody, strings.Repeat("0123456789 abcdefghij\r\n", 4096/23)), eom, packet(packetAbort, ""))
	whole := stream(message...)
	b.ReportAllocs()
	for b.Loop() {
		write(whole)
		for {
			code, _, err := readPacket(in)
			if err != nil {
				b.Fatal(err)
			}
			if code == 'a' {
				break
			}
		}
	}
}

func readPacket(in *bufio.Reader) (code byte, data []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	data = make([]byte, int(head[1])<<16|int(head[2])<<8|int(head[3])-1)
	_, err = io.ReadFull(in, data)
	return head[4], data, err
}
