package consul

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/pki"
)

// connectCA plays the two endpoints of the Connect CA; refuse has it refuse.
func connectCA(t *testing.T, refuse *atomic.Bool) http.Handler {
	t.Helper()
	authority, root, err := pki.NewAuthority("consul", time.Now(), time.Hour)
	must(t, err)
	issued, err := authority.Issue(pki.Request{Identity: pki.Identity{Role: pki.Node, Name: "mx1"}, Valid: time.Hour}, time.Now())
	must(t, err)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case refuse.Load():
			http.Error(w, "Permission denied: no", http.StatusForbidden)
		case r.URL.Query().Get("index") != "":
			<-r.Context().Done() // nothing changes
		case r.URL.Path == "/v1/agent/connect/ca/roots":
			reply(w, 3, api.CARootList{Roots: []*api.CARoot{{RootCertPEM: string(root.Cert)}}})
		case r.URL.Path == "/v1/agent/connect/ca/leaf/n.mx1":
			reply(w, 4, api.LeafCert{CertPEM: string(issued.Cert), PrivateKeyPEM: string(issued.Key), Service: "n.mx1"})
		default:
			http.NotFound(w, r)
		}
	})
}

func TestLeaf(t *testing.T) {
	var refuse atomic.Bool
	refuse.Store(true)
	o := LeafOptions{Client: newTestClient(t, connectCA(t, &refuse)), Service: "n.mx1", StateFile: filepath.Join(t.TempDir(), "leaf.json")}
	leaf := NewLeaf(o)
	if _, _, err := leaf.Credentials(); err == nil || err.Error() != "no certificate for n.mx1 from Consul yet: not asked yet" {
		t.Errorf("before it was asked: %v", err)
	}
	stop := goUntil(t, leaf.Run)
	await(t, "the reason", func() bool {
		_, _, err := leaf.Credentials()
		return err != nil && strings.HasSuffix(err.Error(), "Consul refused the token: Permission denied: no")
	})
	refuse.Store(false)
	await(t, "the certificate", func() bool {
		cert, roots, err := leaf.Credentials()
		return err == nil && cert != nil && roots != nil
	})
	<-leaf.Ready()
	stop()

	again := NewLeaf(o)
	<-again.Ready()
	if err := again.takeLeaf(&api.LeafCert{CertPEM: "no PEM", PrivateKeyPEM: "neither"}); err == nil {
		t.Error("what is no certificate was taken")
	}
	if err := again.takeRoots(&api.CARootList{Roots: []*api.CARoot{{RootCertPEM: "no PEM"}}}); err == nil {
		t.Error("what is no root was taken")
	}
	if _, _, err := again.Credentials(); err != nil {
		t.Errorf("the certificate from before is gone: %v", err)
	}
}

func TestLeafStateFile(t *testing.T) {
	var refuse atomic.Bool
	for name, content := range map[string]string{
		"cut":              `{"service": "n.mx1", `,
		"no certificate":   `{"service": "n.mx1", "certificate": "x", "key": "y", "roots": ["z"]}`,
		"of another":       `{"service": "n.mx2"}`,
		"nothing in it":    `{"service": "n.mx1"}`,
		"of another shape": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "leaf.json")
			must(t, os.WriteFile(file, []byte(content), 0o600))
			leaf := NewLeaf(LeafOptions{Client: newTestClient(t, connectCA(t, &refuse)), Service: "n.mx1", StateFile: file})
			if _, _, err := leaf.Credentials(); err == nil {
				t.Error("it has a certificate")
			}
			goUntil(t, leaf.Run)
			<-leaf.Ready() // Consul's answer takes its place
		})
	}
}
