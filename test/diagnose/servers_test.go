package diagnose

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// authority signs the test's certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: ecKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-1000 * time.Hour),
		NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate and its key as one PEM text.
func (a *authority) issue(t *testing.T, name string, from, until time.Duration) (text []byte, pair tls.Certificate) {
	t.Helper()
	key := ecKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotBefore: time.Now().Add(from),
		NotAfter: time.Now().Add(until), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text = append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	return text, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A private Postfix is asked over SMTP: as a stranger asks, and for its certificate.
func TestLivePostfix(t *testing.T) {
	l := lab.ForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ca := newAuthority(t)
	users, err := l.Submission(map[string]string{"ann": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string, from, until time.Duration, host string, more map[string]string) *diagnose.Facts {
		t.Helper()
		text, _ := ca.issue(t, host, from, until)
		file, err := l.WriteFile("cert-"+name+".pem", text, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		main := map[string]string{"smtpd_tls_chain_files": file, "smtpd_tls_security_level": "may", "smtpd_tls_auth_only": "yes"}
		for key, value := range users {
			if !strings.HasPrefix(key, "smtpd_tls") {
				main[key] = value
			}
		}
		for key, value := range more {
			main[key] = value
		}
		postfix, err := l.StartPostfix(ctx, lab.PostfixOptions{Name: name, Main: main})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := instance(t, postfix.Conf)
		if err != nil {
			t.Fatal(err)
		}
		return &diagnose.Facts{Postfix: parsed, SMTP: postfix.Addr, DNS: resolver(), Roots: ca.pool, Domains: []string{"fleet.example"},
			Local: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	}
	good := start("good", -time.Hour, 90*24*time.Hour, "good.fleet.example", nil)
	expect(t, good, "open-relay", want{grade: fleet.GradePass})
	expect(t, good, "submission", want{grade: fleet.GradePass, seen: "after TLS only"})
	found := expect(t, good, "certificate", want{grade: fleet.GradePass, seen: "good.fleet.example"})
	if !strings.Contains(found.Parts[0].Seen, "89 days") {
		t.Errorf("certificate: %+v", found.Parts)
	}
	good.Roots = x509.NewCertPool()
	expect(t, good, "certificate", want{fleet.GradeWarn, "nobody that this host trusts", []string{"smtpd_tls_chain_files"}})

	bad := start("bad", -48*time.Hour, -time.Hour, "bad.fleet.example", map[string]string{"smtpd_tls_auth_only": "no", "smtpd_tls_security_level": "may"})
	expect(t, bad, "submission", want{fleet.GradeFail, "takes passwords in clear", []string{"smtpd_tls_auth_only = yes"}})
	expect(t, bad, "certificate", want{fleet.GradeFail, "expired 1h0m", []string{"Renew"}})

	relay := start("relay", -time.Hour, 5*24*time.Hour, "relay.fleet.example", map[string]string{"smtpd_relay_restrictions": "permit_mynetworks, check_recipient_access static:OK, reject_unauth_destination"})
	expect(t, relay, "open-relay", want{fleet.GradeFail, "relays for strangers", []string{"smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"}})
	expect(t, relay, "certificate", want{fleet.GradeWarn, "ends in 4 days", []string{"Renew"}})

	other := start("other", -time.Hour, 90*24*time.Hour, "www.elsewhere.example", nil)
	expect(t, other, "certificate", want{fleet.GradeFail, "it is for www.elsewhere.example, not for other.fleet.example", []string{"names other.fleet.example"}})

	t.Run("settings that were not reloaded", func(t *testing.T) {
		stale := *good
		stale.SMTP = bad.SMTP
		stale.Postfix = good.Postfix
		stale.Postfix.Services = append([]diagnose.Service(nil), good.Postfix.Services...)
		for i := range stale.Postfix.Services {
			if stale.Postfix.Services[i].Command == "smtpd" {
				stale.Postfix.Services[i].Name = bad.SMTP
			}
		}
		expect(t, &stale, "submission", want{fleet.GradeFail, "although its settings say otherwise", []string{"postfix reload"}})
	})
	t.Run("everybody here is trusted", func(t *testing.T) {
		all := *good
		all.Postfix = settings(t, "mynetworks = 127.0.0.0/8\n", "")
		found := expect(t, &all, "open-relay", want{grade: fleet.GradePass})
		if found.Parts[len(found.Parts)-1].Grade != fleet.GradeNA {
			t.Errorf("%+v", found.Parts)
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		gone := *good
		gone.SMTP, gone.Postfix = "127.0.0.1:9", settings(t, "mynetworks = 127.0.0.1\nsmtpd_tls_security_level = may\n", "127.0.0.1:9 inet n - n - - smtpd\n")
		expect(t, &gone, "open-relay", want{grade: fleet.GradeUnknown})
		expect(t, &gone, "certificate", want{grade: fleet.GradeUnknown})
	})
}

// speaker answers SMTP connections with fixed replies until the test ends: a greeting, a reply to EHLO, and 250 to the rest.
func speaker(t *testing.T, greeting, ehlo string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = fmt.Fprint(conn, greeting)
			line := make([]byte, 256)
			for {
				n, err := conn.Read(line)
				if err != nil || strings.HasPrefix(string(line[:n]), "QUIT") {
					break
				}
				if strings.HasPrefix(string(line[:n]), "EHLO") {
					_, _ = fmt.Fprint(conn, ehlo)
				} else {
					_, _ = fmt.Fprint(conn, "454 4.7.0 TLS not available\r\n")
				}
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String()
}

// Servers to try: one as it should be, and one for each fault.
func TestOutwards(t *testing.T) {
	l := lab.ForTest(t)
	sink, err := l.StartTLSSink(nil)
	if err != nil {
		t.Fatal(err)
	}
	postfix := settings(t, "smtp_tls_security_level = may\n", "")
	try := func(targets ...string) *diagnose.Facts {
		return &diagnose.Facts{DNS: resolver(), Postfix: postfix, HELO: "mail.good.test", Targets: targets}
	}
	plain := speaker(t, "220 plain.test ESMTP\r\n", "250-plain.test at your service, [203.0.113.9]\r\n250 SIZE\r\n")
	stripped := speaker(t, "220 box.test ESMTP\r\n", "250-box.test\r\n250-8BITMIME\r\n250 STARTTLS\r\n")
	closed, err := lab.FreeAddr("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, try(sink.Addr), "port25", want{grade: fleet.GradePass, seen: "answers: 220"})
	expect(t, try(sink.Addr), "starttls", want{grade: fleet.GradePass})
	expect(t, try(sink.Addr), "8bitmime", want{grade: fleet.GradePass})
	expect(t, try(plain), "starttls", want{fleet.GradeWarn, "offers no STARTTLS", []string{"inspection"}})
	expect(t, try(plain), "8bitmime", want{fleet.GradeWarn, "doesn't offer 8BITMIME", []string{"8BITMIME"}})
	expect(t, try(stripped), "starttls", want{fleet.GradeFail, "the handshake fails", []string{"inspection"}})
	expect(t, try(closed), "port25", want{fleet.GradeFail, "is not reached", []string{"open port 25"}})
	expect(t, try(sink.Addr, closed), "port25", want{fleet.GradeWarn, "is not reached", []string{"diagnose.targets"}})
	expect(t, try(speaker(t, "554 5.7.1 go away\r\n", "")), "port25", want{fleet.GradeFail, "go away", nil})
	expect(t, try(), "port25", want{fleet.GradeNA, "no server to try", []string{"targets: [mx.example.net]"}})
	unresolved := try("mx.good.test")
	unresolved.DNS = resolver("127.0.0.1:9")
	expect(t, unresolved, "port25", want{grade: fleet.GradeUnknown})

	t.Run("an address that only others know", func(t *testing.T) {
		f := try(plain)
		f.DNS = resolver(stub(t, honest("9.113.0.203.in-addr.arpa. IN PTR nat.good.test.\nnat.good.test. IN A 203.0.113.9\n")))
		expect(t, f, "ptr", want{grade: fleet.GradePass, seen: "203.0.113.9 is nat.good.test"})
	})
}

// An MTA-STS policy is fetched over HTTPS from where DNS says that it is.
func TestMTASTS(t *testing.T) {
	ca := newAuthority(t)
	var policy string
	serve := func(host, address string) {
		t.Helper()
		_, pair := ca.issue(t, host, -time.Hour, time.Hour)
		listener, err := tls.Listen("tcp", address+":443", &tls.Config{Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if policy == "" {
				http.NotFound(w, r)
				return
			}
			_, _ = fmt.Fprint(w, policy)
		})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Serve(listener) // ends with Close
		}()
		t.Cleanup(func() { server.Close(); <-done })
	}
	serve("mta-sts.good.test", "127.77.0.1")
	serve("other.test", "127.77.0.2")
	server := stub(t, honest(`good.test. IN MX 10 mx.good.test.
wrong.test. IN MX 10 mx.good.test.
none.test. IN MX 10 mx.good.test.
lost.test. IN MX 10 mx.good.test.
_mta-sts.good.test. IN TXT "v=STSv1; id=1"
_mta-sts.wrong.test. IN TXT "v=STSv1; id=1"
_mta-sts.lost.test. IN TXT "v=STSv1; id=1"
mta-sts.good.test. IN A 127.77.0.1
mta-sts.wrong.test. IN A 127.77.0.2
`))
	const enforced = "version: STSv1\nmode: enforce\nmx: *.good.test\nmax_age: 86400\n"
	for _, c := range []struct {
		name, domain, policy string
		want                 want
	}{
		{"enforced", "good.test", enforced, want{grade: fleet.GradePass, seen: "covers all"}},
		{"testing", "good.test", strings.Replace(enforced, "enforce", "testing", 1), want{fleet.GradeWarn, "testing", []string{"mode: enforce"}}},
		{"lacks a server", "good.test", strings.Replace(enforced, "*.good.test", "mx2.good.test", 1), want{fleet.GradeFail, "lacks mx.good.test", []string{"mx: mx.good.test"}}},
		{"misspelt", "good.test", strings.Replace(enforced, "enforce", "enforced", 1), want{fleet.GradeFail, "mode is", []string{"version: STSv1"}}},
		{"not there", "good.test", "", want{fleet.GradeFail, "404", []string{"mta-sts.good.test"}}},
		{"certificate of another", "wrong.test", enforced, want{fleet.GradeFail, "certificate is not good", []string{"certificate for mta-sts.wrong.test"}}},
		{"host not in DNS", "lost.test", enforced, want{fleet.GradeFail, "has no address", nil}},
		{"none", "none.test", enforced, want{fleet.GradeWarn, "no MTA-STS policy", []string{`_mta-sts.none.test. IN TXT "v=STSv1; id=1"`}}},
		{"takes no mail", "quiet.test", enforced, want{grade: fleet.GradeNA}},
	} {
		t.Run(c.name, func(t *testing.T) {
			policy = c.policy
			expect(t, &diagnose.Facts{DNS: resolver(server), Domains: []string{c.domain}, HTTP: &http.Client{}, Roots: ca.pool}, "mta-sts", c.want)
		})
	}
}
