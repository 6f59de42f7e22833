package main

import (
	"net"
	"testing"

	"github.com/postfleet/postfleet/internal/config"
)

func TestWhereThePageIs(t *testing.T) {
	for _, tc := range []struct {
		name, listening, public string
		host                    string
		port                    int
	}{
		{"an address", "192.0.2.1:8527", "", "192.0.2.1", 8527},
		{"an address, with a proxy for several", "192.0.2.1:8527", "https://mail.example.com", "192.0.2.1", 8527},
		{"every address", "[::]:8527", "https://mail.example.com", "", 8527},
		{"this host alone", "127.0.0.1:8527", "", "127.0.0.1", 8527},
		{"behind a proxy", "127.0.0.1:8527", "https://mail.example.com", "mail.example.com", 443},
		{"behind a proxy on a port", "127.0.0.1:8527", "https://mail.example.com:8443", "mail.example.com", 8443},
		{"behind a proxy without TLS", "[::1]:8527", "http://mail.example.com", "mail.example.com", 80},
	} {
		t.Run(tc.name, func(t *testing.T) {
			listening, err := net.ResolveTCPAddr("tcp", tc.listening)
			if err != nil {
				t.Fatal(err)
			}
			host, port := reachable(&config.HTTP{PublicURL: tc.public}, listening)
			if host != tc.host || port != tc.port {
				t.Errorf("got %q port %d, want %q port %d", host, port, tc.host, tc.port)
			}
		})
	}
}
