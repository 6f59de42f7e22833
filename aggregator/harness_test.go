package aggregator

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"golang.org/x/crypto/argon2"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

const testPassword = "correct horse battery"

// testUsers is a users file with one user a role, whose hashes cost little.
var testUsers = sync.OnceValue(func() (users []byte) {
	salt := []byte("sixteen bytes of")
	encode := base64.RawStdEncoding.EncodeToString
	hash := "$argon2id$v=19$m=64,t=1,p=1$" + encode(salt) + "$" + encode(argon2.IDKey([]byte(testPassword), salt, 1, 64, 1, 32))
	for role, name := range userOfRole {
		users = append(users, name+":"+role.String()+":"+hash+"\n"...)
	}
	return users
})

var userOfRole = map[accounts.Role]string{accounts.Viewer: "vera", accounts.Operator: "otto", accounts.Admin: "anna"}

// testServer is a running server with what a test looks at.
type testServer struct {
	*Server
	t      *testing.T
	base   string
	dir    string
	tokens map[accounts.Role]string
	fleet  *fakeFleet
	roots  *x509.CertPool
}

// startServer runs a server over a fleet of fake nodes a and b, changed by the options.
func startServer(t *testing.T, change ...func(*Options)) *testServer {
	t.Helper()
	ts := newServer(t, change...)
	ts.start()
	return ts
}

// newServer is a server that doesn't run yet.
func newServer(t *testing.T, change ...func(*Options)) *testServer {
	t.Helper()
	ts := &testServer{t: t, dir: t.TempDir(), tokens: map[accounts.Role]string{}, fleet: newFakeFleet("a", "b")}
	write(t, filepath.Join(ts.dir, "users"), testUsers())
	for _, role := range accounts.Roles {
		secret, err := accounts.TokenFile{Path: filepath.Join(ts.dir, "tokens")}.Add("token-"+role.String(), role, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ts.tokens[role] = secret
	}
	o := Options{
		Fleet:      newTestFanout(t, ts.fleet),
		DNS:        fakeDNS{},
		Listen:     "127.0.0.1:0",
		UsersFile:  filepath.Join(ts.dir, "users"),
		TokensFile: filepath.Join(ts.dir, "tokens"),
		AuditFile:  filepath.Join(ts.dir, "audit"),
		Log:        zaptest.NewLogger(t, zaptest.Level(zapcore.WarnLevel)),
	}
	for _, one := range change {
		one(&o)
	}
	var err error
	if ts.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	ts.base = "http://" + ts.Addr().String()
	if o.CertFile != "" {
		ts.base = "https://" + ts.Addr().String()
	}
	return ts
}

func (ts *testServer) start() {
	ts.Start(func(err error) { ts.t.Errorf("serving ended: %v", err) })
	ts.t.Cleanup(ts.stop)
}

func (ts *testServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ts.Shutdown(ctx); err != nil {
		ts.t.Errorf("shutdown: %v", err)
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// browser is a client with a cookie jar that follows no redirects.
func (ts *testServer) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		ts.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ts.roots}, ForceAttemptHTTP2: true}
	ts.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// signedIn is a browser in which a user of that role has signed in.
func (ts *testServer) signedIn(role accounts.Role) *http.Client {
	ts.t.Helper()
	client := ts.browser()
	answer := ts.signIn(client, userOfRole[role], testPassword)
	if answer.status != http.StatusSeeOther {
		ts.t.Fatalf("sign in: %d %s", answer.status, answer.body)
	}
	return client
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (ts *testServer) do(client *http.Client, r *http.Request) answer {
	ts.t.Helper()
	response, err := client.Do(r)
	if err != nil {
		ts.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		ts.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, body}
}

func (ts *testServer) request(method, path, body string, headers ...string) *http.Request {
	ts.t.Helper()
	r, err := http.NewRequestWithContext(ts.t.Context(), method, ts.base+path, strings.NewReader(body))
	if err != nil {
		ts.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (ts *testServer) signIn(client *http.Client, user, password string, headers ...string) answer {
	ts.t.Helper()
	form := url.Values{"user": {user}, "password": {password}, "next": {"/messages"}}
	headers = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
	return ts.do(client, ts.request(http.MethodPost, "/login", form.Encode(), headers...))
}

func (ts *testServer) get(client *http.Client, path string, headers ...string) answer {
	ts.t.Helper()
	return ts.do(client, ts.request(http.MethodGet, path, "", headers...))
}

// withToken asks as a program of that role.
func (ts *testServer) withToken(role accounts.Role, path string) answer {
	ts.t.Helper()
	return ts.get(ts.browser(), path, "Authorization", "Bearer "+ts.tokens[role])
}

// audited are the entries of the audit log.
func (ts *testServer) audited() []Entry {
	ts.t.Helper()
	entries, err := ts.auditLog.newest(maxEntries)
	if err != nil {
		ts.t.Fatal(err)
	}
	return entries
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T, dir, serial string) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: serial}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, certFile, certPEM)
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, roots
}

// eventually polls until what is wanted holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

// logBuffer collects what a logger writes.
func logBuffer() (*zap.Logger, *lockedBuffer) {
	out := &lockedBuffer{}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(out), zapcore.DebugLevel)), out
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
