package pki

import (
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// RoleCA marks the certificate of the CA in a list.
const RoleCA Role = "ca"

// Certificate describes a certificate file.
type Certificate struct {
	File      string    `json:"file"`
	Role      Role      `json:"role,omitempty"`
	Name      string    `json:"name"`
	URI       string    `json:"uri,omitempty"`
	Addresses []string  `json:"addresses,omitempty"`
	Serial    string    `json:"serial"` // hexadecimal
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Describe reads the first certificate of a PEM file.
func Describe(file string) (Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Certificate{}, err
	}
	cert, err := parseCert(text)
	if err != nil {
		return Certificate{}, fmt.Errorf("%s: %w", file, err)
	}
	described := Certificate{File: file, Name: subject(cert), Addresses: addresses(cert), Serial: cert.SerialNumber.Text(16),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC()}
	if cert.IsCA {
		described.Role = RoleCA
	}
	if len(cert.URIs) == 1 {
		described.URI = cert.URIs[0].String()
		if id, ok := FleetScheme(cert.URIs[0]); ok {
			described.Role, described.Name = id.Role, id.Name
		}
	}
	return described, nil
}

func addresses(cert *x509.Certificate) []string {
	list := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}
