package aggregator

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// certificate serves a TLS certificate from files and takes a renewed one without a restart: it looks whether the files
// changed, at most every certificateCheck, when a client connects.
type certificate struct {
	certFile, keyFile string
	log               *zap.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	stamp   string
	checked time.Time
}

const certificateCheck = 10 * time.Second

func loadCertificate(certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.reload()
}

// reload reads the files again. When they are no good the certificate in use stays.
func (c *certificate) reload() error {
	stamp := c.stampFiles()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded, c.stamp, c.checked = &pair, stamp, time.Now()
	return nil
}

func (c *certificate) stampFiles() (stamp string) {
	for _, path := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(path); err == nil {
			stamp += fmt.Sprintf("%d %d;", info.ModTime().UnixNano(), info.Size())
		}
	}
	return stamp
}

// get is a tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	stale := time.Since(c.checked) > certificateCheck
	if stale {
		c.checked = time.Now()
	}
	before, loaded := c.stamp, c.loaded
	c.mu.Unlock()
	if !stale || c.stampFiles() == before {
		return loaded, nil
	}
	if err := c.reload(); err != nil {
		c.log.Error("renewed certificate not taken", zap.Error(err))
		return loaded, nil
	}
	c.log.Info("renewed certificate taken", zap.String("file", c.certFile))
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}
}

// expires is when the certificate in use ends; zero without TLS.
func (c *certificate) expires() time.Time {
	if c == nil {
		return time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded.Leaf.NotAfter
}
