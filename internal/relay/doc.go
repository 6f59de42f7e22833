// Package relay hands outgoing mail over to other nodes of the fleet, and takes theirs in.
//
// It has three parts. The map answers Postfix's question where a sender's mail goes (socketmap_table(5)). The gate takes the
// SMTP connections that follow, on one loopback address a member, and splices each to that member over mutual TLS. The
// carrying side takes such connections from other nodes, checks by certificate who they are, and hands them to the local
// Postfix behind a PROXY header. What is said in those connections is Postfix's: this package reads and changes no SMTP.
//
// docs/relay.md has what belongs into Postfix's configuration, and what happens when.
package relay
