package config

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "250ms": 250 * time.Millisecond, "30s": 30 * time.Second, "5m": 5 * time.Minute, "2h": 2 * time.Hour,
		"90d": 90 * 24 * time.Hour, "1h30m": 90 * time.Minute,
	} {
		var got Duration
		if err := got.UnmarshalText([]byte(text)); err != nil || got.Std() != want {
			t.Errorf("%s: got %v, %v", text, got.Std(), err)
		}
		if got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, text := range []string{"", "5", "-1s", "1 day", "d", "-3d", "1.5d", "99999999d", "1e9h"} {
		if err := new(Duration).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "512B": 512, "3KiB": 3072, "64MiB": 64 << 20, "10GiB": 10 << 30, "2TiB": 2 << 40} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, text := range []string{"", "5", "64MB", "-1MiB", "MiB", "9999999999TiB", "1.5GiB"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestLoopback(t *testing.T) {
	for text, want := range map[string]bool{
		"unix:/run/x.sock": true, "127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "mx1.example.com:1": false, "192.0.2.1:1": false,
	} {
		var e Endpoint
		if err := e.UnmarshalText([]byte(text)); err != nil || e.Loopback() != want {
			t.Errorf("%s: loopback %t, %v", text, e.Loopback(), err)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"listen", "record_wait", "log"}
	for text, want := range map[string]string{"lisen": "listen", "Record-Wait": "record_wait", "foo": "", "logs": "log", "timeout": "", "lgo": "log"} {
		if got := suggest(text, known); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
