package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// backdate lets a certificate be used at once by hosts whose clocks are behind.
const backdate = 5 * time.Minute

// Authority issues the certificates of one fleet.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Pair is a certificate and its private key, each as PEM.
type Pair struct{ Cert, Key []byte }

// NewAuthority makes a certification authority, ECDSA P-256, that can issue certificates and nothing else.
func NewAuthority(name string, now time.Time, valid time.Duration) (*Authority, Pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(valid),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return sign(template, nil)
}

// LoadAuthority reads what NewAuthority made.
func LoadAuthority(pair Pair) (*Authority, error) {
	cert, err := parseCert(pair.Cert)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(pair.Key)
	if block == nil {
		return nil, errors.New("no PEM private key in it")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the private key is not that of the CA certificate")
	}
	if !cert.IsCA {
		return nil, errors.New("the certificate is not that of a CA")
	}
	return &Authority{cert: cert, key: key}, nil
}

// Request asks for a certificate.
type Request struct {
	Identity  Identity
	Addresses []string // host names and IP addresses; postfleet doesn't look at them, other TLS clients do
	Valid     time.Duration
}

// Issue makes a new key and the certificate for it. It never outlives the CA.
func (a *Authority) Issue(r Request, now time.Time) (Pair, error) {
	if err := r.Identity.Validate(); err != nil {
		return Pair{}, err
	}
	if !now.Before(a.cert.NotAfter) {
		return Pair{}, fmt.Errorf("the CA expired at %s", a.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.Identity.String()},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(r.Valid),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{r.Identity.URI()},
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	for _, address := range r.Addresses {
		if ip := net.ParseIP(address); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, address)
		}
	}
	_, pair, err := sign(template, a)
	return pair, err
}

// sign makes a key and has the authority, or for nil the key itself, sign the certificate for it.
func sign(template *x509.Certificate, by *Authority) (*Authority, Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Pair{}, err
	}
	if by == nil {
		by = &Authority{cert: template, key: key}
	}
	// Without a serial number CreateCertificate makes a random one by RFC 5280 section 4.1.2.2.
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, Pair{}, fmt.Errorf("sign the certificate of %s: %w", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, Pair{}, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, Pair{}, err
	}
	return &Authority{cert: cert, key: key}, Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}),
	}, nil
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}
