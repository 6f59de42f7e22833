// Package ha holds the promises about load balancing and high availability up against hosts of their own: three nodes with
// Postfix, node daemon and Consul server each, a host with HAProxy, dnsmasq and the page, a client and a remote server.
//
// It needs root, network namespaces, and the programs of `make deps`; without one of them it fails and says which.
package ha
