package consul

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestToken(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "token"), filepath.Join(dir, "other")
	must(t, os.WriteFile(file, []byte(" in-file\n"), 0o600))
	must(t, os.WriteFile(other, []byte("in-other-file"), 0o600))
	for _, tc := range []struct {
		name        string
		options     Options
		environment map[string]string
		want        string
	}{
		{"none", Options{}, nil, ""},
		{"settings", Options{Token: "set"}, map[string]string{"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": other}, "set"},
		{"settings' file", Options{Token: "set", TokenFile: file}, map[string]string{"CONSUL_HTTP_TOKEN_FILE": other}, "in-file"},
		{"environment", Options{}, map[string]string{"CONSUL_HTTP_TOKEN": "env"}, "env"},
		{"environment's file", Options{}, map[string]string{"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": other}, "in-other-file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Get("X-Consul-Token")
				reply(w, 1, "127.0.0.1:8300")
			}))
			defer server.Close()
			clearEnvironment(t)
			t.Setenv("CONSUL_HTTP_ADDR", server.URL)
			for name, value := range tc.environment {
				t.Setenv(name, value)
			}
			tc.options.Log = zap.NewNop()
			client, err := NewClient(tc.options)
			must(t, err)
			defer client.Close()
			_, err = client.api.Status().Leader()
			must(t, err)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("old"), 0o600))
	var got string
	client := newTestClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("X-Consul-Token")
		reply(w, 1, "127.0.0.1:8300")
	}), func(o *Options) { o.TokenFile = file })
	for _, token := range []string{"old", "new"} {
		must(t, os.WriteFile(file, []byte(token), 0o600))
		_, err := client.api.Status().Leader()
		must(t, err)
		if got != token {
			t.Errorf("got %q, want %q", got, token)
		}
	}
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := client.api.Status().Leader(); err == nil || !strings.Contains(err.Error(), "token is empty") {
		t.Errorf("an empty file: %v", err)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no token file", Options{TokenFile: "/nowhere/token"}, "consul token: open /nowhere/token"},
		{"no CA file", Options{CAFile: "/nowhere/ca.pem"}, "consul TLS settings"},
		{"certificate without a key", Options{CertFile: "/nowhere/a.pem"}, "consul TLS settings"},
		{"no certificate file", Options{CertFile: "/nowhere/a.pem", KeyFile: "/nowhere/a.key"}, "consul TLS settings: open /nowhere/a.pem"},
		{"unknown scheme", Options{Address: "ftp://consul"}, "consul client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clearEnvironment(t)
			if _, err := NewClient(tc.options); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
