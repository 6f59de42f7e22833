// Package dkim makes the DKIM signatures of a node (RFC 6376, 8301, 8463): which domain signs a message, with which of the
// node's keys, over which header fields, and the signature itself, made while the message streams by.
//
// It signs what Postfix's SMTP client will send, not what the milter protocol shows of it: see [Options].LineLimit. It never
// makes an l= tag and knows no SHA-1. Verification of other people's signatures is not its business; go-msgauth's verifier is
// used to prove each of the node's own keys before it signs with it.
package dkim
