package milter

import (
	"bytes"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// TestLargeMessagesInFlatMemory streams messages of 100 MB, two at a time, and looks at the heap all the while.
func TestLargeMessagesInFlatMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("streams 200 MB")
	}
	const size, most = 100 << 20, 8 << 20
	store := &shelf{}
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
	runtime.GC()
	before := heap()
	peak := make(chan uint64)
	stop := make(chan struct{})
	go func() {
		var highest uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				highest = max(highest, heap())
			case <-stop:
				peak <- highest
				return
			}
		}
	}()
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- sendLarge(path, size) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if grown := int64(<-peak) - int64(before); grown > most {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for _, e := range store.wait(t, 2) {
		if r := recorded(t, e); r.Size < size || r.Verdict != fleet.VerdictAccepted {
			t.Errorf("recorded %+v", r)
		}
	}
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse
}

// sendLarge sends one message in pieces of 64 KiB, as Postfix does.
func sendLarge(path string, size int) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(stream(offer, connect, helo, mailCmd, rcptCmd, header, eoh)); err != nil {
		return err
	}
	piece := packet(packetBody, string(bytes.Repeat([]byte("0123456789abcde\n"), 4096)[:65535]))
	for sent := 0; sent < size; sent += 65535 {
		if _, err := conn.Write(piece); err != nil {
			return err
		}
	}
	if _, err := conn.Write(stream(eom, packet(packetQuit, ""))); err != nil {
		return err
	}
	_, err = bytes.NewBuffer(nil).ReadFrom(conn)
	return err
}
