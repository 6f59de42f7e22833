// Package milter is the node's side of Postfix: an SMTP session comes in as milter events, a signed and recorded message goes
// out. It is the only importer of go-milter.
//
// The server decides at the end of a message only and asks for no replies before that, so that a message costs one round
// trip. Bodies stream through and are never held. Whoever reaches the socket can at worst lose his own connection: see guard.
//
// It knows neither keys nor storage: what signs and what records is given in [Options].
package milter
