package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
)

func TestProxyService(t *testing.T) {
	mail := consul.Service{ID: "smtp-out-n1", Name: "smtp-out", Address: "192.0.2.1", Port: 25, Tags: []string{"primary"},
		Check: "http://127.0.0.1:8526/healthz/mail"}
	settings := config.DefaultMilter().Consul
	settings.ProxyPort, settings.Weight = 2525, 3
	want := consul.Service{ID: "smtp-out-proxy-n1", Name: "smtp-out-proxy", Address: "192.0.2.1", Port: 2525, Tags: []string{"primary"},
		Weight: 768, Check: "http://127.0.0.1:8526/healthz/mail"}
	if diff := cmp.Diff(want, proxyService(&settings, mail)); diff != "" {
		t.Error(diff)
	}
}

// Consul and SRV records (RFC 2782) take weights up to 65535.
func TestHAProxyWeight(t *testing.T) {
	for weight, want := range map[int]int{1: 256, 2: 512, 255: 65280, 256: 65280, 65535: 65280} {
		if got := haproxyWeight(weight); got != want {
			t.Errorf("weight %d is told as %d, want %d", weight, got, want)
		}
	}
}
