// Package nodeapi is a node's HTTPS API: the handler and the listener on the node, and the client that an aggregator
// asks it with. What travels are the types of package fleet as JSON, so both ends share one set of wire types.
//
// The API is versioned by its path, /v1. Within a version fields and parameters are only added: both ends ignore those
// that they don't know, and a route that a node doesn't have answers 501, so that nodes of several versions serve one
// page. Who may call is decided in the TLS handshake (package pki), before a request is read.
package nodeapi
