// Package keys holds the promises about the life of DKIM keys and about DNS up against real BIND name servers and real Postfix
// instances.
package keys
