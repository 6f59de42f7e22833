// Package pki is who is who between the daemons of a fleet: the identity in a certificate, the TLS settings that let in
// one identity and nobody else, certificates that change on disk without a restart, and a private certification
// authority for sites without Consul.
//
// Certificates name their holder by a SPIFFE URI, never by a host name: addresses change, and a certificate for a host
// says nothing about what its holder may do.
package pki
